"""Arrows run one way, and the configs say what exists."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = (
    *("__init__", "base", "configs", "fields", "folders", "identity", "inputs", "pooling"),
    *("provenance", "records"),
)
PLUGINS = [p for p in (ROOT / "methods").glob("*.py") if p.stem not in SHARED]
# A room may import the rooms to its right: cli -> training -> evaluation -> backbone -> base.
FLOORS = [
    "methods.cli",
    "methods.training",
    "methods.evaluation",
    "methods.backbone",
    "methods.base",
    "methods.inputs",
    "methods.pooling",
    "methods.provenance",
    "methods.records",
    "methods.identity",
    "methods.fields",
    "methods.configs",
    "methods.folders",
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


def test_arrows_between_rooms_run_one_way():
    for file in (ROOT / "methods").rglob("*.py"):
        own = floor(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for module in imported(file):
            if own is not None and (other := floor(module)) is not None:
                assert other >= own, f"{file} imports {module}"


def test_the_analysis_needs_pandas_alone():
    for file in (ROOT / "analysis").glob("*.py"):
        roots = {module.split(".")[0] for module in imported(file)}
        assert not roots & {"torch", "mteb", "methods", "transformers", "hydra", "datasets"}, file


def test_no_file_outgrows_its_page():
    for file in [*(ROOT / "methods").rglob("*.py"), *(ROOT / "analysis").glob("*.py")]:
        assert len(file.read_text().splitlines()) <= 320, file
    for file in PLUGINS:
        code = [line for line in file.read_text().splitlines() if line.strip()]
        assert len(code) <= 140, file
