"""Format the scores of a job: mteb's main score over the evaluated splits and subsets.

A task's score is the mean of its main score over its subsets and the splits that count
(tasks.list_scored_splits: the benchmark's, else the test split), as in reports. Other scores of a
result file (a split scored in an earlier run) are not included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from methods.base import Method
from methods.encoding.post import NONE, Post
from methods.evaluation.records import Record
from methods.evaluation.tasks import list_scored_splits

AXES = ("pooling", "layer", "normalize")
COLUMNS = 5  # cells that are shown as columns; more are shown as rows
Column = tuple[Method, Post]  # what has a score of its own


def compute_main_score(result: Any, task: Any) -> float | None:
    """Return a result's main score over the splits that count, or None where it has none."""
    values = []
    for split in list_scored_splits(task):
        scores = result.scores.get(split, [])
        own = [s for s in scores if s["hf_subset"] in task.hf_subsets]
        values += [float(s["main_score"]) for s in own or scores]
    return fmean(values) if values else None


def format_splits(task: Any) -> str:
    """Return the splits a task's score is of, and its subsets where it has several."""
    subsets = list(task.hf_subsets or [])
    named = f" ({len(subsets)} subsets)" if len(subsets) > 3 else f" ({', '.join(subsets)})"
    return ", ".join(list_scored_splits(task)) + (named if len(subsets) > 1 else "")


def read_stored_score(record: Record, task: Any) -> float | None:
    """Return a task's stored score in a cell's folder, or None if it is not finished."""
    name = task.metadata.name
    if record.read().get("tasks", {}).get(name, {}).get("status") != "done":
        return None
    result = record.cache.load_task_result(name, record.meta)
    return None if result is None else compute_main_score(result, task)


def name_column(cell: Method, post: Post) -> str:
    """Return a cell's axes and its post, for the log."""
    return f"{cell.attention} {cell.pooling} {cell.layer} {post.name}".rstrip()


def format_final_scores(
    method: str,
    tasks: Sequence[Any],
    columns: Sequence[Column],
    scores: Mapping[tuple[str, int], float | None],
    *,
    missing: Mapping[str, str],
    brief: bool,
) -> str:
    """Return all scores of a job as a table, or, brief, the one cell's in a line."""
    named = name_column(*columns[0]) if len(columns) == 1 else columns[0][0].attention
    title = f"{method} ({named}), main scores x 100:"
    if not brief:
        return f"{title}\n{format_score_table(tasks, columns, scores, missing=missing)}"
    names = [task.metadata.name for task in tasks]
    shown = [f"{name} {_format_score(scores.get((name, 0)))}" for name in names]
    return f"{title} {', '.join([*shown, *(f'{name} missing' for name in missing)])}"


def format_score_table(
    tasks: Sequence[Any],
    columns: Sequence[Column],
    scores: Mapping[tuple[str, int], float | None],
    *,
    missing: Mapping[str, str],
) -> str:
    """Return an aligned table of scores x 100, a row a task; missing and failed ones are named.

    scores: by task name and the column's place; None: failed. missing: task name -> reason.
    """
    names = _name_columns(columns)
    below = len(columns) > COLUMNS
    head = ["task", "split", "metric", *(["cell", "score"] if below else names)]
    rows = []
    for task in tasks:
        name, about = task.metadata.name, [format_splits(task), task.metadata.main_score]
        shown = [_format_score(scores.get((name, place))) for place in range(len(columns))]
        if below:
            rows += [[name, *about, *pair] for pair in zip(names, shown, strict=True)]
        else:
            rows.append([name, *about, *shown])
    rows += [[name, "missing", reason] for name, reason in missing.items()]
    table = [row for row in rows if row[1] != "missing"]
    widths = [max(len(row[place]) for row in [head, *table]) for place in range(len(head))]
    widths[0] = max([widths[0], *(len(row[0]) for row in rows)])
    lines = []
    for row in [head, *rows]:
        if row[1] == "missing":
            lines.append(f"  {row[0]:{widths[0]}}  missing: {row[2]}")
            continue
        padded = [f"{text:{w}}" for text, w in zip(row[:3], widths, strict=False)]
        padded += [f"{text:>{w}}" for text, w in zip(row[3:], widths[3:], strict=True)]
        lines.append("  " + "  ".join(padded).rstrip())
    return "\n".join(lines)


def _format_score(score: float | None) -> str:
    return "failed" if score is None else f"{100 * score:.2f}"


def _name_columns(columns: Sequence[Column]) -> list[str]:
    """Return names that distinguish columns: the values of the axes in which they differ."""
    axes = [
        {axis: getattr(cell, axis) for axis in AXES} | {"post": post.name or NONE}
        for cell, post in columns
    ]
    differ = [axis for axis in axes[0] if len({values[axis] for values in axes}) > 1]
    named = [[f"{axis}={values[axis]}" for axis in differ] for values in axes]
    return [" ".join(parts) or "score" for parts in named]
