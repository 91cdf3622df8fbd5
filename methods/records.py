"""Define the records of evaluations (run.json) and trainings (training.json), as typed classes.

`SCHEMA` numbers what the fields mean. A record without a number was written before there was one
(schema 0); it is read as it stands and never rewritten. Every file is written beside its place and
renamed, so that a killed run leaves no partial file.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, Self

SCHEMA = 1
Status = Literal["done", "failed", "missing", "running"]


@dataclass(kw_only=True)
class _JsonRecord:
    """Convert a record to and from JSON, refusing unknown fields."""

    KEEPS_NULLS: ClassVar[bool] = True
    ADDED: ClassVar[tuple[str, ...]] = ()  # fields that earlier records lack; not written if null

    def to_json(self) -> dict[str, Any]:
        """Return the record in JSON's terms."""
        found = {f.name: _to_plain(getattr(self, f.name)) for f in fields(self)}
        kept = [name for name in found if self.KEEPS_NULLS and name not in self.ADDED]
        return {k: v for k, v in found.items() if v is not None or k in kept}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the record that JSON holds. Raises ValueError for fields too many or too few."""
        known = {f.name: f for f in fields(cls)}
        unknown = sorted(set(values) - set(known))
        needed = {n for n, f in known.items() if f.default is f.default_factory is MISSING}
        if unknown or (lacking := sorted(needed - set(values))):
            wrong = f"unknown: {', '.join(unknown)}" if unknown else f"lacking: {lacking}"
            raise ValueError(f"no {cls.__name__} of schema {SCHEMA}: fields {wrong}")
        return cls(**cls._build_nested(dict(values)))

    @classmethod
    def _build_nested(cls, values: dict[str, Any]) -> dict[str, Any]:
        return values


@dataclass(kw_only=True)
class PartRecord(_JsonRecord):
    """Where one score comes from: one split and subset of a task.

    data: digest of what was evaluated (and trained on, by a classifier). code: of the method's own
    code; engine: of everything between it and the vectors; mteb: its version, which scores; commit,
    date: when it was scored.
    """

    data: str
    code: str
    engine: str | None = None
    mteb: str | None = None
    commit: str | None = None
    date: str | None = None


@dataclass(kw_only=True)
class TaskRecord(_JsonRecord):
    """The state of a task: of the last run that evaluated it, and of each part that has a score.

    own: of a task on the user's own data, what was given and what was decided about it.
    splits, subsets: those with a score or requested. parts: split -> subset -> PartRecord. data,
    code, engine: of all parts. Costs are those of the runs that made the parts, added up.
    """

    KEEPS_NULLS = False

    status: Status
    type: str | None = None
    main_score: str | None = None
    splits: list[str] = field(default_factory=list)
    subsets: list[str] = field(default_factory=list)
    missing_parts: list[str] = field(default_factory=list)
    parts: dict[str, dict[str, PartRecord]] = field(default_factory=dict)
    derived_from: str | None = None
    verified: bool | None = None
    own: dict[str, Any] | None = None
    error: str | None = None
    date: str | None = None
    commit: str | None = None
    data: str | None = None
    code: str | None = None
    engine: str | None = None
    seconds: float | None = None
    texts: int | None = None
    cut_texts: int | None = None
    tokens: int | None = None
    tokens_computed: int | None = None
    tokens_per_second: float | None = None
    linear_weights: int | None = None
    vector_bytes: int | None = None
    peak_memory_mib: float | None = None
    device: str | None = None
    kernel: str | None = None
    packed: list[str] | None = None
    linears: str | None = None
    batch_tokens: int | None = None
    threads: int | None = None
    examples: dict[str, Any] | None = None
    examples_error: str | None = None
    geometry: dict[str, Any] | None = None
    geometry_error: str | None = None

    @classmethod
    def _build_nested(cls, values: dict[str, Any]) -> dict[str, Any]:
        parts = values.get("parts") or {}
        values["parts"] = {
            split: {subset: PartRecord.from_json(part) for subset, part in subsets.items()}
            for split, subsets in parts.items()
        }
        return values


@dataclass(kw_only=True)
class CellRecord(_JsonRecord):
    """One cell: a method with its attention, pooling, layer and dtype on one model.

    command, config, config_dir: what was run; paths are relative to where the command ran.
    trained_as: where what is evaluated differs from what the adapter was trained
    with, field -> [trained, evaluated]. post: steps, and what they were fitted on. chosen: what the
    learning rate of the training was chosen by: the rate, all rates' scores, task, split, seed.
    """

    ADDED = ("post", "chosen")

    schema: int = SCHEMA
    model: str
    revision: str
    adapters: list[str]
    training: list[dict[str, Any]]
    trained_as: dict[str, Any]
    method: str
    options: dict[str, Any]
    default: dict[str, Any]
    attention: str
    pooling: str
    layer: int
    dtype: str
    instructions: str | None
    digest: str
    method_config: dict[str, Any]
    backbone: dict[str, Any]
    reports: list[str]
    command: str
    config_dir: str | None
    config: dict[str, Any]
    versions: dict[str, str]
    python: str
    machine: str
    processor: str
    commit: str | None
    dirty: bool | None
    post: dict[str, Any] | None = None
    chosen: dict[str, Any] | None = None
    tasks: dict[str, TaskRecord] = field(default_factory=dict)

    @classmethod
    def _build_nested(cls, values: dict[str, Any]) -> dict[str, Any]:
        tasks = values.get("tasks") or {}
        values["tasks"] = {name: TaskRecord.from_json(entry) for name, entry in tasks.items()}
        return values


@dataclass(kw_only=True)
class TrainingRecord(_JsonRecord):
    """One training: its settings, data, model and environment, and its outcome.

    base: name, weights (and dtype) of the model, config: digest of its other files, if it is a
    folder. below: digests of the adapters merged before it. name: the method's, in conf/method.
    """

    schema: int = SCHEMA
    base: dict[str, Any]
    below: list[str]
    name: str
    method: dict[str, Any]
    title: str
    recipe: dict[str, Any]
    data: dict[str, Any]
    trained: int
    of: int
    steps: int
    seconds: float
    tokens: int
    loss: float | None
    best: dict[str, Any] | None
    engine: str
    command: str
    config_dir: str | None
    config: dict[str, Any]
    versions: dict[str, str]
    python: str
    machine: str
    processor: str
    commit: str | None
    dirty: bool | None


def read_json(path: Path) -> dict[str, Any]:
    """Return what a record file holds. Raises ValueError, naming it, if it cannot be read or its
    schema is newer than this code's."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"the record {path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"the record {path} holds {type(found).__name__}, not an object")
    schema = found.get("schema", 0)  # of another program's file it may be anything
    if isinstance(schema, int) and schema > SCHEMA:
        raise ValueError(
            f"the record {path} has schema {schema}, this code knows up to {SCHEMA}; "
            f"read it with the version that wrote it (commit {found.get('commit')}), or a newer one"
        )
    return found


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file beside its place and rename it. An OSError names the folder."""
    with open_atomically(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside its place for bytes, and rename it once all is written and on disk. An
    OSError names the folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(aside, 0o644)
            os.replace(aside, path)
        finally:
            Path(aside).unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path.name} in {path.parent}: {error}") from error


def check_writable(folder: Path, *, key: str = "runs") -> None:
    """Raise ValueError, before anything is computed, if the folder of `key` cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"the {key} folder {folder.resolve()} cannot be written ({error.strerror}); "
            f"give another one: {key}=DIR"
        ) from error


def _to_plain(value: Any) -> Any:
    if isinstance(value, _JsonRecord):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _to_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(part) for part in value]
    return value
