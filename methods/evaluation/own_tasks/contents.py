"""Read what a task of the user's own is made of, as its files' kind asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from methods.config.own_tasks import Kind, OwnTask
from methods.data.readers import find_files, read_llama_index
from methods.evaluation.own_tasks.beir import Collection, is_beir, read_beir, take_llama_index
from methods.evaluation.own_tasks.tables import SPLITS, Columns, read_tables

TABLES = "csv, tsv, jsonl, json or parquet"


@dataclass(frozen=True)
class Contents:
    """Checked data of a task.

    tables: split -> column -> values. collection: of a retrieval task instead. evaluated: the
    splits that are scored unless others are asked for. facts: what was decided here, for records.
    """

    kind: Kind
    evaluated: list[str]
    tables: Mapping[str, Columns] = field(default_factory=dict)
    collection: Collection | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def splits(self) -> list[str]:
        """The splits that can be scored."""
        if self.collection is not None:
            return list(self.collection.judged)
        trained = "train" if self.kind == "classification" else None
        return [split for split in self.tables if split != trained]

    def digest(self, instruction: str | None) -> str:
        """Return eight hex digits of all that a score depends on beside the model."""
        whole = hashlib.sha256()
        for piece in ([self.kind, self.facts, instruction], *self._iterate_pieces()):
            whole.update(json.dumps(piece, sort_keys=True).encode())
        return whole.hexdigest()[:8]

    def _iterate_pieces(self) -> Iterator[Any]:
        if self.collection is not None:
            yield from self.collection.corpus.items()
            yield from self.collection.queries.items()
            yield from self.collection.judged.items()
        for split, columns in self.tables.items():
            yield [split, *columns]
            yield from zip(*columns.values(), strict=True)


def read_contents(own: OwnTask) -> Contents:
    """Read and check a task's files. Raises ValueError, naming file and line, for what is wrong."""
    path = own.place
    if not path.exists():
        raise ValueError(
            f"there is no {path}; a path is relative to where the command runs, {Path.cwd()}"
        )
    collection = _read_collection(own, path)
    if collection is None:
        kind, tables, facts = read_tables(own, _find_split_files(path))
        trained = "train" if kind == "classification" else None
        return Contents(kind, _choose_splits(list(tables), trained), tables, facts=facts)
    if own.kind not in (None, "retrieval"):
        raise ValueError(f"{path} holds a retrieval task; its kind is retrieval, not {own.kind}")
    for key in ("columns", "scale", "split"):
        if getattr(own, key):
            raise ValueError(f"{path} holds a retrieval task, which has no {key}; leave it out")
    evaluated = _choose_splits(list(collection.judged), None)
    return Contents("retrieval", evaluated, collection=collection)


def _read_collection(own: OwnTask, path: Path) -> Collection | None:
    """Return a retrieval task's documents, queries and judgements; None for tables."""
    if path.is_dir() and is_beir(path):
        return read_beir(path)
    if path.suffix.lower() == ".json" and path.is_file():
        if (content := read_llama_index(path)) is not None:
            return take_llama_index(content, path)
    if own.kind == "retrieval":
        raise ValueError(
            f"{path} is no retrieval task; one is a BEIR folder (corpus.jsonl, queries.jsonl, "
            f"qrels/*.tsv) or LlamaIndex' JSON of queries, corpus and relevant_docs"
        )
    return None


def _find_split_files(path: Path) -> dict[str | None, Path]:
    """Return the file of each split of a folder, or the one file under None."""
    if path.is_file():
        return {None: find_files(path)[0]}
    inside = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    files = [file for file in inside if file.is_file() and file.stem in SPLITS]
    if files and len({file.stem for file in files}) == len(files):
        for file in files:
            find_files(file)
        return {file.stem: file for file in files}
    names = [f"{file.name}/" if file.is_dir() else file.name for file in inside]
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise ValueError(
        f"{path} is no BEIR folder (corpus.jsonl, queries.jsonl, qrels/*.tsv) and no folder with "
        f"one file for each of {', '.join(SPLITS)} ({TABLES}); it holds {shown or 'nothing'}"
    )


def _choose_splits(splits: Sequence[str], trained: str | None) -> list[str]:
    """Return the test split, else all that nothing is trained on."""
    if "test" in splits:
        return ["test"]
    others = [split for split in splits if split not in (trained, "train")]
    return others or [split for split in splits if split != trained]
