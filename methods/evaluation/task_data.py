"""A task's data: loaded, checked, and known by a digest of everything that is evaluated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from methods.evaluation.data_counts import batches
from methods.evaluation.mirrors import (
    explain_key_error,
    metadata_of_what_is_there,
    needed_for_training,
    parts_of,
)
from methods.evaluation.own_data import name_own_data


@dataclass(frozen=True)
class DataDigest:
    """What a task is evaluated on: a digest of all of it, and (split, subset) -> of that part.

    A classifier's part is its split and what it is trained on. A task asked for in one part only
    has one digest.
    """

    whole: str
    parts: Mapping[tuple[str, str], str]


def load_data(task: Any) -> DataDigest:
    """Load a task's data and return the digests of everything that is evaluated.

    A task whose mirror holds other data than mteb's is renamed (own_data.py): read its name again
    afterwards. Raises ValueError, naming the task, for data that cannot be read or has other
    columns.
    """
    whole, parts = hashlib.sha256(), {}
    members = parts_of(task)
    for part in members:
        try:
            with metadata_of_what_is_there(part):
                part.load_data()
            if convert := getattr(part, "convert_v1_dataset_format_to_v2", None):
                convert(None)  # mteb does so too, when it evaluates
        except Exception as error:  # every failure to read becomes one that says what was read
            raise ValueError(
                f"the data of {part.metadata.name} cannot be read from "
                f"{part.metadata.dataset['path']}: {_with_cause(error)}"
                f"{explain_key_error(part, error)}"
            ) from error
        _check_columns(part)
        for where, piece in _pieces(part):
            text = json.dumps(piece, sort_keys=True, default=str).encode()
            whole.update(text)
            for place in where:
                parts.setdefault(place, hashlib.sha256()).update(text)
    name_own_data(task)
    digest = whole.hexdigest()[:16]
    if members != [task]:  # an aggregate's score is made of all its parts
        return DataDigest(digest, {p: digest for p in asked_parts(task)})
    return DataDigest(digest, {place: part.hexdigest()[:16] for place, part in parts.items()})


def asked_parts(task: Any) -> list[tuple[str, str]]:
    """Return the splits and subsets that a task is asked for, in order."""
    return [(split, subset) for split in task.eval_splits for subset in task.hf_subsets]


def _with_cause(error: BaseException) -> str:
    """An error, and what it is caused by: `datasets` names the file and the line there alone."""
    told = [f"{type(error).__name__}: {error}"]
    while (error := error.__cause__) is not None:  # pyright: ignore[reportAssignmentType]
        told.append(f"{type(error).__name__}: {error}")
    return ", caused by ".join(dict.fromkeys(told))


def unload_data(task: Any) -> None:
    """Free what `load_data` loaded; the task stays what it is: its name, its mirror."""
    for part in parts_of(task):
        own = vars(part).get("metadata")
        part.unload_data()  # takes the instance's metadata away
        if own is not None:
            part.metadata = own


def _check_columns(task: Any) -> None:
    needed = [
        *_names(getattr(task, "column_names", ())),
        *_names(getattr(task, "input_column_name", ())),
        *_names(getattr(task, "input1_column_name", ())),
        *_names(getattr(task, "input2_column_name", ())),
        *_names(getattr(task, "label_column_name", ())),
        *(["score"] if task.metadata.type == "STS" else []),
    ]
    for _, split, data in _splits(task):
        columns = getattr(data, "column_names", None)
        if needed and columns is not None and not set(needed) <= set(columns):
            raise ValueError(
                f"{task.metadata.name}, split {split}: the data in {task.metadata.dataset['path']} "
                f"has columns {', '.join(columns)}; needed: {', '.join(needed)}"
            )


def _names(columns: Any) -> list[str]:
    return [columns] if isinstance(columns, str) else [str(column) for column in columns]


def _splits(task: Any) -> Iterable[tuple[list[tuple[str, str]], Any, Any]]:
    """(parts that depend on it, split, data) of every subset that is evaluated."""
    dataset = task.dataset
    own = {(s,): dataset[s] for s in task.hf_subsets if s in dataset}
    needed = [*task.eval_splits, *filter(None, [needed_for_training(task)])]
    for names, subset in (own or {tuple(task.hf_subsets): dataset}).items():
        for split in dict.fromkeys(needed):
            if split not in subset:
                raise ValueError(
                    f"{task.metadata.name} has no split {split}; its data has "
                    f"{', '.join(map(str, subset))}"
                )
        for split in task.eval_splits:
            yield [(split, name) for name in names], split, subset[split]
        train = getattr(task, "train_split", None)
        if train in subset:
            yield (
                [(split, name) for split in task.eval_splits for name in names],
                train,
                subset[train],
            )


def _pieces(task: Any) -> Iterable[tuple[list[tuple[str, str]], Any]]:
    """What a task's scores depend on, in JSON's terms, a little at a time, and which parts do."""
    for where, split, data in _splits(task):
        yield where, split
        if hasattr(data, "column_names"):
            yield from ((where, batch) for batch in batches(data))
        elif isinstance(data, Mapping) and "corpus" in data:  # and queries, relevance, candidates
            for part in ("corpus", "queries"):
                yield from ((where, batch) for batch in batches(data[part]))
            yield where, data["relevant_docs"]
            yield where, data.get("top_ranked")
        else:
            yield where, data
