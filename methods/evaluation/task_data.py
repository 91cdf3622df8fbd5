"""Load a task's data, check them, and compute a digest of everything that is evaluated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from methods.evaluation.data_counts import iterate_batches
from methods.evaluation.mirrors import explain_key_error, limit_metadata
from methods.evaluation.mteb_internals import (
    convert_old_layout,
    find_named_train_split,
    find_train_split,
    keep_metadata,
    list_needed_columns,
    list_parts,
)
from methods.evaluation.own_data import name_own_data


@dataclass(frozen=True)
class DataDigest:
    """Digests of what a task is evaluated on: of all of it, and (split, subset) -> of that part.

    A classifier's part is its split and what it is trained on. A task with one part has one
    digest.
    """

    whole: str
    parts: Mapping[tuple[str, str], str]


def load_data(task: Any) -> DataDigest:
    """Load a task's data and return the digests of everything that is evaluated.

    A task whose mirror holds other data than mteb's is renamed (own_data.py): read its name again
    afterwards. Raises ValueError, naming the task, for data that cannot be read or has other
    columns.
    """
    code = getattr(task, "own_code", "").encode()  # of a user's own class
    whole, parts = hashlib.sha256(code), {}
    members = list_parts(task)
    for part in members:
        try:
            with limit_metadata(part):
                part.load_data()
            convert_old_layout(part)
        except Exception as error:  # whatever mteb and datasets raise; the error names the data
            raise ValueError(
                f"the data of {part.metadata.name} cannot be read from "
                f"{part.metadata.dataset['path']}: {_format_causes(error)}"
                f"{explain_key_error(part, error)}"
            ) from error
        _check_columns(part)
        for where, piece in _iterate_content(part):
            text = json.dumps(piece, sort_keys=True, default=str).encode()
            whole.update(text)
            for place in where:
                parts.setdefault(place, hashlib.sha256(code)).update(text)
    name_own_data(task)
    digest = whole.hexdigest()[:16]
    if members != [task]:  # an aggregate's score is made of all its parts
        return DataDigest(digest, {p: digest for p in list_requested_parts(task)})
    return DataDigest(digest, {place: part.hexdigest()[:16] for place, part in parts.items()})


def list_requested_parts(task: Any) -> list[tuple[str, str]]:
    """Return the splits and subsets that a task is evaluated on, in order."""
    return [(split, subset) for split in task.eval_splits for subset in task.hf_subsets]


def _format_causes(error: BaseException) -> str:
    """Return an error with its causes: only in those `datasets` names the file and the line."""
    lines = [f"{type(error).__name__}: {error}"]
    while (error := error.__cause__) is not None:  # pyright: ignore[reportAssignmentType]
        lines.append(f"{type(error).__name__}: {error}")
    return ", caused by ".join(dict.fromkeys(lines))


def unload_data(task: Any) -> None:
    """Free what `load_data` loaded; the task keeps its name and its mirror."""
    for part in list_parts(task):
        with keep_metadata(part):
            part.unload_data()


def _check_columns(task: Any) -> None:
    needed = list_needed_columns(task)
    for _, split, data in _iterate_splits(task):
        columns = getattr(data, "column_names", None)
        if needed and columns is not None and not set(needed) <= set(columns):
            raise ValueError(
                f"{task.metadata.name}, split {split}: the data in {task.metadata.dataset['path']} "
                f"has columns {', '.join(columns)}; needed: {', '.join(needed)}"
            )


def _iterate_splits(task: Any) -> Iterable[tuple[list[tuple[str, str]], Any, Any]]:
    """Yield (parts that depend on it, split, data) of every subset that is evaluated."""
    dataset = task.dataset
    own = {(s,): dataset[s] for s in task.hf_subsets if s in dataset}
    needed = [*task.eval_splits, *filter(None, [find_train_split(task)])]
    for names, subset in (own or {tuple(task.hf_subsets): dataset}).items():
        for split in dict.fromkeys(needed):
            if split not in subset:
                raise ValueError(
                    f"{task.metadata.name} has no split {split}; its data has "
                    f"{', '.join(map(str, subset))}"
                )
        for split in task.eval_splits:
            yield [(split, name) for name in names], split, subset[split]
        train = find_named_train_split(task)
        if train in subset:
            yield (
                [(split, name) for split in task.eval_splits for name in names],
                train,
                subset[train],
            )


def _iterate_content(task: Any) -> Iterable[tuple[list[tuple[str, str]], Any]]:
    """Yield what a task's scores depend on, as JSON values in pieces, and which parts do."""
    for where, split, data in _iterate_splits(task):
        yield where, split
        if hasattr(data, "column_names"):
            yield from ((where, batch) for batch in iterate_batches(data))
        elif isinstance(data, Mapping) and "corpus" in data:  # and queries, relevance, candidates
            for part in ("corpus", "queries"):
                yield from ((where, batch) for batch in iterate_batches(data[part]))
            yield where, data["relevant_docs"]
            yield where, data.get("top_ranked")
        else:
            yield where, data
