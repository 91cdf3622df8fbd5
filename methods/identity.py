"""Compute every digest that results, vectors and adapters are keyed by. Imports no torch.

One rule: whatever decides a vector is in its key. Weights, config.json and tokenizer files decide
it (`digest_model_files`), adapter tensors and their config (`digest_adapter`), what is encoded and
pooled (`make_row_key`), the method's own code (`digest_class`) and the engine's (`digest_engine`).

Two of them mean different things when they change. A method whose code changed is another method:
its finished scores are computed again. An engine that changed should give the same scores: they
stay, each with the engine it was made by, and reports say where rows differ in it. Cached vectors
are cheap to lose, so their keys hold both.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import tokenize
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from methods.folders import find_cache_folder

HERE = Path(__file__).parent
# Files of a model folder beside its weights that decide token ids or the forward pass.
MODEL_FILES = ("config.json", "*token*.json", "*.model", "*.tiktoken", "vocab*", "merges*")
MODEL_FILES += ("**/*.py",)  # code of its own, which may import folders beside it
# Files of methods/encoding that are between a method's page and its vectors.
ENCODING = ("batch_pooling", "call", "chunks", "combination", "embedder", "encoder", "post")
ENCODING += ("vectorize",)
LARGE = 16 << 20  # bytes; digests of larger files are remembered on disk


def digest(value: Any, length: int = 8) -> str:
    """Return hex digits of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def digest_files(*files: Path) -> str:
    """Return the SHA-256 of files' contents, one after the other.

    Computed once per state of the files: in this process for all, across processes for large ones.
    """
    states = tuple(_read_state(file) for file in files)
    return _digests[states] if states in _digests else _read_and_remember(states, files)


_digests: dict[Any, str] = {}


def _read_state(file: Path) -> tuple[Any, ...]:
    """Return what changes whenever a file's content does: ctime does even if mtime was reset."""
    stat = file.stat()
    place = str(file.resolve())
    return place, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _read_and_remember(states: tuple[Any, ...], files: tuple[Path, ...]) -> str:
    note = None
    if sum(state[2] for state in states) > LARGE:
        note = find_cache_folder() / "digests" / digest(states, 32)
        if note.is_file() and len(found := note.read_text().strip()) == 64:
            _digests[states] = found
            return found
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                whole.update(block)
    found = whole.hexdigest()
    if tuple(_read_state(file) for file in files) == states:  # nobody wrote while we read
        _digests[states] = found
        if note is not None:
            _write_note(note, found)
    return found


def _write_note(note: Path, text: str) -> None:
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        aside = note.with_name(f".{note.name}-{os.getpid()}")
        aside.write_text(text)
        aside.replace(note)
    except OSError:  # a full or read-only cache costs time, not a result
        pass


def digest_model_files(folder: Path) -> str:
    """Return a digest of the files beside a model's weights that decide its vectors."""
    found = {file for pattern in MODEL_FILES for file in folder.glob(pattern) if file.is_file()}
    return digest({str(file.relative_to(folder)): digest_files(file) for file in found}, 16)


def digest_adapter(folder: str | Path) -> str:
    """Return a digest of all of an adapter folder that decides vectors: its tensors (a trained
    pooling's too), how they are merged, and the tokenizer it may bring."""
    place = Path(folder)
    tensors = {file.name: digest_files(file) for file in place.glob("*.safetensors")}
    config = place / "adapter_config.json"
    try:
        merged = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else None
    except ValueError as error:
        raise ValueError(f"{config} is no JSON: {error}; save the adapter again") from error
    return "sha256:" + digest([tensors, merged, digest_model_files(place)], 16)


def digest_adapter_tensors(folder: str | Path) -> str:
    """Return a digest of an adapter's tensors alone, by which records of schema 0 identify it."""
    return "sha256:" + digest_files(*sorted(Path(folder).glob("*.safetensors")))[:16]


def make_row_key(ids: Iterable[int], pool_mask: Iterable[bool]) -> bytes:
    """Return a 16-byte digest of one row: its token ids and its pool mask."""
    tokens = np.asarray(list(ids), dtype=np.int32).tobytes()
    key = hashlib.blake2b(tokens, digest_size=16)
    key.update(len(tokens).to_bytes(8, "little") + bytes(pool_mask))
    return key.digest()


@cache
def digest_engine() -> str:
    """Return a digest of all code between a method's page and its vectors, read as files: the
    contract and whole rooms, so that no list can forget a part."""
    contract = ("base", "inputs", "pooling", "pooling_names", "spans", "steering", "tokens")
    files = [HERE / f"{name}.py" for name in contract]
    files += sorted((HERE / "backbone").glob("*.py"))
    files += [HERE / "encoding" / f"{name}.py" for name in ENCODING]
    return _digest_sources(file.read_text(encoding="utf-8") for file in files)


def digest_class(cls: type) -> str:
    """Return a digest of the code a method is written in, docstrings and comments aside.

    Counted are the modules of its classes and, for a method outside this package, the modules
    beside them that these import. The contract (methods.base) belongs to the engine.
    """
    files: dict[Path, None] = {}  # in the order they are met
    unread: list[str] = []
    for part in cls.__mro__:
        if part.__module__ in ("methods.base", "abc", "builtins"):
            continue
        module = inspect.getmodule(part)
        try:
            if module is None:
                raise OSError("a class of no module")
            inspect.getsource(part)
        except (OSError, TypeError):  # a notebook or a prompt: there is bytecode alone
            unread.append(_digest_bytecode(part))
        else:
            file = Path(str(module.__file__))
            package = module.__package__.split(".") if module.__package__ else []
            files |= dict.fromkeys([file, *_find_neighbours(file, package)])
    found = _digest_sources(map(_read_source, files))
    return digest([found, unread], 16) if unread else found


def digest_file_code(file: Path) -> str:
    """Return a digest of the code in a file of no package and in the modules beside it that it
    imports, docstrings and comments aside."""
    return _digest_sources(map(_read_source, [file, *_find_neighbours(file, [])]))


def _find_neighbours(file: Path, package: list[str]) -> list[Path]:
    """Return the files that a plugin's file imports from its own package or folder.

    They are found by name, so that one that is imported only later counts too.
    """
    root = file.parents[max(len(package) - 1, 0)]
    if root == HERE:  # our own pages import the contract alone
        return []
    found: list[Path] = []
    _follow(file, package, root.parent if package else root, found)
    return [one for one in found if one != file and one.is_relative_to(root)]


def _follow(file: Path, package: list[str], base: Path, found: list[Path]) -> None:
    """Append the files under `base` that a file of a package imports, and what those import."""
    for node in ast.walk(ast.parse(_read_source(file))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*above, *filter(None, [node.module])])
            names = [stem, *(f"{stem}.{alias.name}".lstrip(".") for alias in node.names)]
        for parts in (name.split(".") for name in names if name):
            place = base.joinpath(*parts)
            for one, own in (
                (place.with_suffix(".py"), parts[:-1]),
                (place / "__init__.py", parts),
            ):
                if one.is_file() and one not in found and _is_plugins(one, parts):
                    found.append(one)
                    _follow(one, own, base, found)


def _is_plugins(file: Path, parts: list[str]) -> bool:
    return parts[0] not in ("methods", "analysis") and not (
        {"site-packages", "dist-packages"} & set(file.parts)
    )


def _read_source(file: Path) -> str:
    with tokenize.open(file) as stream:  # inspect takes an empty file for one without a source
        return stream.read()


def _digest_sources(sources: Iterable[str]) -> str:
    whole = hashlib.sha256()
    for source in sources:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                node.body = node.body[ast.get_docstring(node) is not None :]
        whole.update(ast.dump(tree).encode())
    return whole.hexdigest()[:16]


def _digest_bytecode(cls: type) -> str:
    found = {}
    for name, value in vars(cls).items():
        function = getattr(value, "fget", value)
        function = getattr(function, "__func__", function)
        if isinstance(function, FunctionType):
            found[name] = _list_code(function.__code__)
        elif not name.startswith(("__", "_abc_")):
            found[name] = repr(value).split(" at 0x")[0]  # an address is no content
    return digest(found, 16)


def _list_code(code: CodeType) -> list[Any]:
    constants = [_list_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), code.co_names, constants]
