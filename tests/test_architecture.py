"""Imports between rooms run one way, without cycles, and no file is too long."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = (
    *("__init__", "base", "fields", "folders", "identity", "inputs", "pooling", "pooling_names"),
    *("provenance", "records", "spans", "steering", "tokens"),
)
PLUGINS = [p for p in (ROOT / "methods").glob("*.py") if p.stem not in SHARED]
# A room may import those below it in this list.
FLOORS = [
    "methods.cli",
    "methods.documents",
    "methods.interop",
    "methods.training",
    "methods.evaluation",
    "methods.config",
    "methods.encoding",
    "methods.backbone",
    "methods.data",
    "methods.base",
    "methods.spans",
    "methods.inputs",
    "methods.steering",
    "methods.tokens",
    "methods.pooling_names",
    "methods.pooling",
    "methods.provenance",
    "methods.records",
    "methods.identity",
    "methods.fields",
    "methods.folders",
    "analysis.__main__",
    "analysis.paper",
    "analysis.report",
    "analysis.render.html",  # the page of sections
    "analysis.section",
    "analysis.views",
    "analysis.view",
    "analysis.score_table",
    "analysis.baselines",
    "analysis.caption",
    "analysis.comparison",
    "analysis.naming",
    "analysis.labels",
    "analysis.render",
    "analysis.records",
    "analysis.statistics",
]


def imported(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def floor(module):
    return next((i for i, name in enumerate(FLOORS) if (module + ".").startswith(name + ".")), None)


@pytest.mark.parametrize("file", PLUGINS, ids=lambda f: f.stem)
def test_a_plugin_imports_only_the_contract(file):
    ours = {module for module in imported(file) if module.split(".")[0] in ("methods", "analysis")}
    assert ours == {"methods.base"}


def test_imports_between_rooms_run_one_way():
    for file in [*(ROOT / "methods").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")]:
        own = floor(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for module in imported(file):
            if own is not None and (other := floor(module)) is not None:
                assert other >= own, f"{file} imports {module}"


def modules():
    """Every module of ours by its dotted name, with the modules of ours that it imports."""
    files = [file for room in ("methods", "analysis") for file in (ROOT / room).rglob("*.py")]
    named = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}
    named = {name.removesuffix(".__init__"): file for name, file in named.items()}
    graph = {}
    for name, file in named.items():
        found = set()
        for node in executed(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                full = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= (full & named.keys()) or {node.module}
        graph[name] = (found & named.keys()) - {name}
    return graph


def executed(node):
    """What of a module can run: all of it but the imports made for type checkers."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from executed(child)


def test_modules_have_no_import_cycle():
    graph = modules()
    assert len(graph) > 80
    while leaves := {name for name, needed in graph.items() if not needed}:
        graph = {name: needed - leaves for name, needed in graph.items() if name not in leaves}
    assert not graph, f"a circle among: {', '.join(sorted(graph))}"


def test_vectors_need_neither_mteb_nor_datasets():
    code = (
        "import sys; from methods import load_encoder\n"
        "load_encoder('sgpt', model='tiny', cache=None).encode(['a'])\n"
        "print({'mteb', 'datasets', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_the_analysis_needs_pandas_alone():
    files = list((ROOT / "analysis").rglob("*.py"))
    assert len(files) > 30
    for file in files:
        roots = {module.split(".")[0] for module in imported(file)}
        assert not roots & {"torch", "mteb", "methods", "transformers", "hydra", "datasets"}, file


def test_no_file_is_too_long():
    for file in [*(ROOT / "methods").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")]:
        assert len(file.read_text().splitlines()) <= 320, file
    for file in PLUGINS:
        code = [line for line in file.read_text().splitlines() if line.strip()]
        assert len(code) <= 140, file
