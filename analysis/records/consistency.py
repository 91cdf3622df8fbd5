"""Find what makes rows of a frame not comparable, in sentences for a report's reader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from analysis.records.columns import CELL


def find_inconsistencies(frame: pd.DataFrame) -> list[str]:
    """Return what differs between rows that are compared: dtype, data, code, training, copies."""
    done = frame[(frame["status"] == "done") & (frame["source"] == "run")]
    return [
        *_find_mixed_dtypes(done),
        *_find_different_data(done),
        *_find_different_code(done),
        *_find_changed_adapters(done),
        *_find_repeated_cells(done),
        *_find_different_revisions(frame),
    ]


def _find_mixed_dtypes(done: pd.DataFrame) -> Iterator[str]:
    if done["dtype"].nunique() > 1:
        counts = done["dtype"].value_counts().sort_index()
        mixed = ", ".join(f"{number} scores in {dtype}" for dtype, number in counts.items())
        yield f"dtypes are mixed: {mixed}"


def _find_different_data(done: pd.DataFrame) -> Iterator[str]:
    sets = done.groupby(["task", "split", "subset"])["data"].nunique().groupby("task").max()
    for task, number in sets[sets > 1].items():
        yield f"{task} was scored on {number} different sets of data"


def _find_different_code(done: pd.DataFrame) -> Iterator[str]:
    """Yield where a method's own code, or the engine shared by all, has several digests."""
    for (method, model), group in done.groupby(["method", "model"]):
        if (number := group["code"].nunique()) > 1:
            commits = ", ".join(sorted(group["commit"].dropna().unique()))
            yield (
                f"{method} on {model} was run with {number} versions of its code: commits {commits}"
            )
    if (number := done["engine"].nunique()) > 1:
        commits = ", ".join(sorted(done.dropna(subset=["engine"])["commit"].dropna().unique()))
        yield (
            f"scores were made by {number} versions of the engine, which may differ in the last "
            f"digits: commits {commits}"
        )


def _find_changed_adapters(done: pd.DataFrame) -> Iterator[str]:
    for (method, adapters, fields), _ in done.groupby(["method", "adapters", "trained_as"]):
        yield f"{method} with {adapters} was trained with {fields} as it is evaluated here"


def _find_repeated_cells(done: pd.DataFrame) -> Iterator[str]:
    counts = done.groupby([*CELL, "task", "split", "subset"], dropna=False, as_index=False).agg(
        times=("score", "size"), runs=("runs", lambda names: ", ".join(sorted(set(names))))
    )
    for _, repeated in counts[counts["times"] > 1].groupby(CELL, dropna=False):
        row = repeated.iloc[0]
        tasks = ", ".join(sorted(repeated["task"].unique())[:3])
        tasks += ", ..." if len(repeated) > 3 else ""
        yield (
            f"{row['method']} ({row['attention']}, {row['pooling']}, layer {row['layer']}) on "
            f"{tasks} appears {row['times']} times, in {row['runs']}; each has a row of its own"
        )


def _find_different_revisions(frame: pd.DataFrame) -> Iterator[str]:
    """Yield the tasks whose data other people scored in another revision than we, or than others
    where none of the scores are ours."""
    theirs = frame[frame["source"] != "run"].dropna(subset=["dataset_revision"])
    ours: Any = frame[frame["source"] == "run"].groupby("task")["dataset_revision"].unique()
    for task, revisions in theirs.groupby("task")["dataset_revision"].unique().items():
        other = sorted(map(str, set(revisions) - set(ours.get(task, []))))
        if task in ours and other:
            yield (
                f"{task}: other people's scores are of revision {', '.join(other)} of the "
                f"data, ours of {', '.join(map(str, ours[task]))}"
            )
        elif not len(ours) and len(other) > 1:
            yield f"{task}: scores are of different revisions of the data: {', '.join(other)}"
