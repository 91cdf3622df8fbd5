"""What is used of other packages' private parts is listed and there, and nothing else is used."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import methods
from tests.upstream import END, ROOT, START, USES, list_readmes, render

PACKAGES = {
    *("accelerate", "datasets", "gguf", "huggingface_hub", "hydra", "mteb", "omegaconf", "peft"),
    *("safetensors", "sentence_transformers", "sklearn", "tokenizers", "torch", "transformers"),
}
LISTED = {use.name for use in USES} | {
    part for use in USES for part in use.place.replace(":", ".").split(".")
}
FILES = sorted((ROOT / "methods").rglob("*.py"))
DOCUMENTED = {"_target_", "_replace"}  # documented: by Hydra, and of named tuples


def private(name):
    return name.startswith("_") and not name.startswith("__") and name != "_"


def modules():
    """Every module of methods, but the one that runs the command line."""
    found = pkgutil.walk_packages(methods.__path__, "methods.")
    return ["methods", *(one.name for one in found if not one.name.endswith("__main__"))]


def resolve(place):
    module, _, path = place.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


def parameters(found):
    """The names of what a function, a class or an operator of torch takes."""
    if hasattr(found, "default") and hasattr(found.default, "_schema"):
        return [argument.name for argument in found.default._schema.arguments]
    return list(inspect.signature(found).parameters)


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.room}-{use.name}")
def test_what_is_relied_on_is_there(use):
    try:
        found = resolve(use.place)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{error}. Used in methods/{use.room} for: {use.purpose}. Now: {use.remedy}")
    if use.attribute is not None:
        parts = found.__mro__[:-1] if inspect.isclass(found) else [getattr(found, "fget", found)]
        sources = [inspect.getsource(part) for part in parts]
        assert any(use.attribute in source for source in sources), use
    if use.parameters:
        taken = parameters(found)
        lacking = [name for name in use.parameters if name not in taken]
        assert not lacking, f"{use.place} takes {taken}. Now: {use.remedy}"


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.room}-{use.name}")
def test_what_is_listed_is_used(use):
    texts = [file.read_text() for file in (ROOT / "methods" / use.room).rglob("*.py")]
    assert any(use.name in text for text in texts), f"nothing in methods/{use.room} uses {use}"


def found_in(tree):
    """Private names that code imports from other packages or reads of objects that are not its own.

    (line, name) of imports, attributes, and attributes named by a string.
    """
    stdlib = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.partition(".")[0] in sys.stdlib_module_names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            yield from ((node.lineno, part) for part in parts if private(part))
        elif isinstance(node, ast.Attribute) and private(node.attr):
            owner = node.value.id if isinstance(node.value, ast.Name) else None
            if owner not in {"self", "cls", *stdlib}:
                yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr"):
            name = getattr(node.args[1], "value", "")
            if isinstance(name, str) and private(name):
                yield node.lineno, name


def test_every_private_name_that_is_used_is_listed():
    for file in FILES:
        for line, name in found_in(ast.parse(file.read_text())):
            assert name in LISTED | DOCUMENTED, (
                f"{file}, line {line}: {name} is private; use something documented, or list it in "
                f"tests/upstream.py with what to do when it goes"
            )


def test_the_search_sees_every_way_to_a_private_name():
    code = (
        "import os, torch\nfrom mteb._a import b\nfrom mteb.c import _d\nmodel.config._e\n"
        "super()._f()\ntorch.ops.aten._g(x)\ngetattr(task, '_h', None)\nself._own\nos._exit(1)\n"
    )
    assert {name for _, name in found_in(ast.parse(code))} == {
        *("_a", "_d", "_e", "_f", "_g", "_h")
    }


def test_every_private_method_that_is_replaced_is_listed():
    seen = set()
    for module in map(importlib.import_module, modules()):
        for cls in [one for one in vars(module).values() if inspect.isclass(one)]:
            ours = [part for part in cls.__mro__ if part.__module__.startswith("methods.")]
            theirs = [part for part in cls.__mro__ if part.__module__.partition(".")[0] in PACKAGES]
            for name in {name for part in ours for name in vars(part) if private(name)}:
                if any(name in vars(part) for part in theirs) and not name.startswith("_abc_"):
                    assert name in LISTED, f"{cls} replaces {name} of another package"
                    seen.add(name)
    assert {"_evaluate_subset", "_save_checkpoint", "_get_train_sampler"} <= seen


def test_only_one_file_of_the_evaluation_room_uses_mtebs_private_parts():
    parts = {use.name for use in USES if use.room == "evaluation"} - {
        *("_evaluate_subset", "RetrievalSplitData"),  # demo tasks are subclasses and data of mteb's
        *("filter_languages", "filter_eval_splits", "unload_data", "load_task_result"),  # public
        *("save_to_cache", "column_names"),  # the latter is also a dataset's
    }
    for file in (ROOT / "methods" / "evaluation").rglob("*.py"):
        if file.stem == "mteb_internals":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            names = {getattr(node, "attr", None), getattr(node, "value", None)} - {None}
            assert not {n for n in names if isinstance(n, str)} & parts, (
                f"{file}, line {node.lineno}: take it from mteb_internals.py"  # type: ignore
            )


@pytest.mark.parametrize("room", list_readmes())
def test_a_rooms_readme_shows_what_it_relies_on(room):
    text = list_readmes()[room].read_text(encoding="utf-8")
    shown = text.partition(START)[2].partition(END)[0].strip()
    assert shown == render(room), "run: python -m tests.upstream"


IMPORTS = """
import importlib, logging, os, sys, warnings
for name in {theirs!r}:
    importlib.import_module(name)
import datasets, transformers
from mteb.get_tasks import _TASKS_REGISTRY
from transformers import AttentionInterface, AttentionMaskInterface

def state():
    return {{
        "attention functions": dict(AttentionInterface._global_mapping),
        "mask functions": dict(AttentionMaskInterface._global_mapping),
        "mteb's tasks": list(_TASKS_REGISTRY),
        "logging": [logging.getLogger(n).level for n in (None, "transformers", "datasets", "mteb")],
        "handlers": len(logging.getLogger().handlers),
        "progress bars": (
            transformers.utils.logging.is_progress_bar_enabled(),
            datasets.are_progress_bars_disabled(),
        ),
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "threads": __import__("torch").get_num_threads(),
    }}

before = state()
for name in {ours!r}:
    importlib.import_module(name)
after = state()
print([key for key in before if before[key] != after[key]])
"""


def theirs():
    """The modules of other packages that importing ours imports."""
    found = {}
    for file in FILES:
        for node in executed_at_import(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= dict.fromkeys(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found[node.module] = None
    return [name for name in found if name.partition(".")[0] not in ("methods", "analysis")]


def executed_at_import(node):
    yield node
    for child in ast.iter_child_nodes(node):
        typing = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not typing and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from executed_at_import(child)


def test_importing_our_modules_changes_nothing_of_other_packages():
    code = IMPORTS.format(theirs=theirs(), ours=modules())
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr[-2000:]


def test_running_packed_registers_the_attention_once_from_any_thread():
    from concurrent.futures import ThreadPoolExecutor

    from transformers import AttentionInterface, AttentionMaskInterface

    from methods.backbone import packed

    AttentionInterface._global_mapping.pop(packed.NAME, None)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: packed.register_attention(), range(64)))
    assert AttentionInterface._global_mapping[packed.NAME] is packed.attend_packed
    assert packed.NAME not in AttentionMaskInterface._global_mapping  # so no mask is made


def test_a_job_leaves_warnings_and_progress_bars_as_they_were():
    import warnings

    import datasets

    from methods.evaluation.scoring import quiet_libraries

    before = (list(warnings.filters), datasets.are_progress_bars_disabled())
    with quiet_libraries():
        assert datasets.are_progress_bars_disabled()
    assert (list(warnings.filters), datasets.are_progress_bars_disabled()) == before
