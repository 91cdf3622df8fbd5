"""Digests: everything that decides a vector is in its key, and nothing else."""

import ast
import importlib
import json
import os
import shutil
import sys

import pytest

from methods import identity
from methods.backbone.sources import Folder
from methods.identity import (
    digest_adapter,
    digest_class,
    digest_engine,
    digest_files,
    digest_model_files,
)


@pytest.fixture
def model_folder(tmp_path):
    """A small Llama as save_pretrained leaves it, with the byte tokenizer."""
    from transformers import LlamaConfig, LlamaModel

    from methods.backbone.tiny import make_byte_tokenizer

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 300}
    LlamaModel(LlamaConfig(**sizes, **heads)).save_pretrained(tmp_path / "base")
    make_byte_tokenizer().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def edit(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(
    "file, change",
    [
        ("config.json", {"hidden_act": "gelu"}),
        ("config.json", {"rope_theta": 5.0}),
        ("tokenizer_config.json", {"bos_token": "</s>"}),
        ("tokenizer.json", {"truncation": None, "padding": None, "version": "1.1"}),
    ],
)
def test_a_model_folder_is_known_by_all_that_decides_its_vectors(model_folder, file, change):
    from methods.backbone.loader import BackboneSpec
    from methods.backbone.loader import identify_backbone as identity_of

    def known():
        spec = BackboneSpec(name="own/base", source=Folder(path=str(model_folder)), dtype="float32")
        return identity_of(spec)

    before = known()
    (model_folder / "README.md").write_text("what a folder says of itself decides nothing")
    assert known() == before
    edit(model_folder / file, **change)
    after = known()
    assert after != before and after["weights"] == before["weights"]


@pytest.mark.parametrize("file", ["qwen.tiktoken", "own.py", "parts/own.py"])
def test_a_file_that_decides_vectors_counts_wherever_it_lies(model_folder, file):
    before = digest_model_files(model_folder)
    (model_folder / file).parent.mkdir(exist_ok=True)
    (model_folder / file).write_text("one")
    with_file = digest_model_files(model_folder)
    (model_folder / file).write_text("two")
    assert len({before, with_file, digest_model_files(model_folder)}) == 3


def test_an_edited_config_is_encoded_anew_from_the_same_cache(model_folder, tmp_path):
    from methods import load_encoder

    first = load_encoder("sgpt", model=str(model_folder), dtype="float32").encode(["a text"])
    edit(model_folder / "config.json", hidden_act="relu")
    second = load_encoder("sgpt", model=str(model_folder), dtype="float32").encode(["a text"])
    assert abs(first - second).max() > 1e-4


@pytest.fixture
def adapter(tmp_path):
    from safetensors.torch import save_file
    from torch import ones

    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file({"a": ones(2)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8, "r": 4}))
    return folder


def test_an_adapter_is_known_by_its_tensors_and_by_how_they_are_merged(adapter, tmp_path):
    before = digest_adapter(adapter)
    copy = shutil.copytree(adapter, tmp_path / "copy")
    assert digest_adapter(copy) == before  # where it lies is no part of it
    edit(copy / "adapter_config.json", lora_alpha=64)
    edited = digest_adapter(copy)
    assert edited != before
    (copy / "tokenizer.json").write_text("{}")
    assert digest_adapter(copy) not in (before, edited)


@pytest.mark.parametrize("content", ["", "{"])
def test_an_adapter_config_that_is_no_json_is_named(adapter, content):
    file = adapter / "adapter_config.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=f"{file} is no JSON"):
        digest_adapter(adapter)


def test_an_edited_adapter_changes_the_digest_of_its_stack(adapter, tmp_path):
    from methods.backbone.adapters import stack_adapters

    edited = shutil.copytree(adapter, tmp_path / "edited")
    edit(edited / "adapter_config.json", lora_alpha=64)
    same = shutil.copytree(adapter, tmp_path / "same")
    given = [str(adapter), str(edited), str(same)]
    assert stack_adapters(given) == given[:2]


def test_a_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    reads = []
    real = identity._read_and_remember
    monkeypatch.setattr(identity, "_read_and_remember", lambda *a: reads.append(a) or real(*a))
    assert digest_files(file) == digest_files(file)
    assert len(reads) == 1
    stat = file.stat()
    file.write_bytes(b"two")  # as long, and dated back: only ctime tells
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    import hashlib

    assert digest_files(file) == hashlib.sha256(b"two").hexdigest()
    assert len(reads) == 2


def test_large_files_are_hashed_once_for_all_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("DEC2VEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(identity, "LARGE", 2)
    file = tmp_path / "weights"
    file.write_bytes(b"large")
    first = digest_files(file)
    monkeypatch.setattr(identity, "_digests", {})  # another process
    (note,) = (tmp_path / "cache" / "digests").iterdir()
    note.write_text("f" * 64)  # what the note says is taken, and the file is not read
    assert first != digest_files(file) == "f" * 64


def write_plugin(folder, name, *, template="a", helper=None):
    imports = f"from {helper} import TEMPLATE\n" if helper else f"TEMPLATE = {template!r}\n"
    code = (
        f"{imports}from methods.sgpt import SGPT\n"
        f'class Mine(SGPT):\n    """Mine."""\n    template_used = TEMPLATE\n'
    )
    (folder / f"{name}.py").write_text(code)


def loaded(folder, name, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    for module in [m for m in sys.modules if m == name or m.startswith(f"{name}_")]:
        del sys.modules[module]
    importlib.invalidate_caches()
    return importlib.import_module(name).Mine


def test_a_method_is_known_by_its_code_and_that_of_the_modules_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write_plugin(tmp_path, "toy_plugin", helper="toy_plugin_words")
    words = tmp_path / "toy_plugin_words.py"
    words.write_text('"""Words."""\nTEMPLATE = "a"\n')
    before = digest_class(loaded(tmp_path, "toy_plugin", monkeypatch))
    words.write_text('"""Other words."""\nTEMPLATE = "a"  # the same\n')
    assert digest_class(loaded(tmp_path, "toy_plugin", monkeypatch)) == before
    words.write_text('"""Words."""\nTEMPLATE = "bc"\n')
    assert digest_class(loaded(tmp_path, "toy_plugin", monkeypatch)) != before


@pytest.mark.parametrize("init", ["", '"""A package."""\n'])
def test_a_module_that_is_imported_late_or_beside_an_empty_init_counts(tmp_path, monkeypatch, init):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    own = tmp_path / "toy_package"
    own.mkdir()
    (own / "__init__.py").write_text(init)
    (own / "words.py").write_text("TEMPLATE = 'a'\n")
    write_plugin(own, "page", helper="toy_package.words")
    page = (own / "page.py").read_text()
    late = "    def late(self):\n        from . import later\n        return later.WORD\n"
    (own / "page.py").write_text(page + late)
    (own / "later.py").write_text("WORD = 'a'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = importlib.import_module("toy_package.page").Mine
    try:
        before = digest_class(mine)
        mine.late(None)
        assert digest_class(mine) == before  # that it was used makes it no other method
        for name in ("words", "later"):
            (own / f"{name}.py").write_text("TEMPLATE = WORD = 'other'\n")
            assert digest_class(mine) != before
            before = digest_class(mine)
    finally:
        for name in [name for name in sys.modules if name.startswith("toy_package")]:
            del sys.modules[name]


def test_a_method_without_a_source_is_known_by_what_runs():
    def made(body):
        namespace = {"__name__": "__main__"}
        exec(f"from methods.sgpt import SGPT\nclass Mine(SGPT):\n{body}", namespace)
        return digest_class(namespace["Mine"])

    same = "    def pool(self, hidden_BLD, inputs):\n        return hidden_BLD[:, {}]"
    assert made(same.format(0)) == made(same.format(0)) != made(same.format(1))


def _imported_by(name):
    """The files of the contract that one of them imports, and those import; not what only checks
    or hashes."""
    found = set()
    for node in ast.walk(ast.parse((identity.HERE / f"{name}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("methods"):
            direct = node.module.partition(".")[2]
            names = [direct] if direct else [alias.name for alias in node.names]
            found |= {one for one in names if one not in ("fields", "identity")}
    return found | {one for below in found for one in _imported_by(below)}


def test_any_change_of_the_engine_is_another_engine(tmp_path, monkeypatch):
    copy = tmp_path / "methods"
    shutil.copytree(identity.HERE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    digest_engine.cache_clear()
    before = digest_engine()
    monkeypatch.setattr(identity, "HERE", copy)

    def now():
        digest_engine.cache_clear()
        return digest_engine()

    assert now() == before
    contract = sorted(_imported_by("base"))
    assert contract == ["inputs", "pooling", "pooling_names", "spans", "steering", "tokens"]
    others = ("backbone/adapters", "backbone/loader", "encoding/embedder")
    for name in ("base", *contract, *others):
        file = copy / f"{name}.py"
        text = file.read_text()
        file.write_text(text + "\n# a comment\n")
        assert now() == before, name
        file.write_text(text + "\nCHANGED = True\n")
        assert now() != before, name
        file.write_text(text)
    digest_engine.cache_clear()
