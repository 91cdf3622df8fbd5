"""The scores a job ends with: mteb's main score over the splits and subsets that are evaluated.

A task's score is the mean of its main score over its subsets and the splits that count
(tasks.score_splits: the benchmark's, else the test split), as reports have it. What else a result
file holds (a split scored in an earlier run) does not enter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from methods.base import Method
from methods.evaluation.records import Record
from methods.evaluation.tasks import score_splits

AXES = ("pooling", "layer", "normalize")
COLUMNS = 5  # cells that stand beside each other; more stand below each other


def main_score(result: Any, task: Any) -> float | None:
    """Return a result's main score over the splits that count, or None where it has none."""
    values = []
    for split in score_splits(task):
        scores = result.scores.get(split, [])
        own = [s for s in scores if s["hf_subset"] in task.hf_subsets]
        values += [float(s["main_score"]) for s in own or scores]
    return fmean(values) if values else None


def splits_of(task: Any) -> str:
    """Return the splits a task's score is of, and its subsets where it has several."""
    subsets = list(task.hf_subsets or [])
    named = f" ({len(subsets)} subsets)" if len(subsets) > 3 else f" ({', '.join(subsets)})"
    return ", ".join(score_splits(task)) + (named if len(subsets) > 1 else "")


def stored_score(record: Record, task: Any) -> float | None:
    """Return a task's score as it stands in a cell's folder, or None if it is not finished."""
    name = task.metadata.name
    if record.read().get("tasks", {}).get(name, {}).get("status") != "done":
        return None
    result = record.cache.load_task_result(name, record.meta)
    return None if result is None else main_score(result, task)


def cell_name(cell: Method) -> str:
    """Return a cell's axes, as the log names it."""
    return f"{cell.attention} {cell.pooling} {cell.layer}"


def final_scores(
    method: str,
    tasks: Sequence[Any],
    cells: Sequence[Method],
    scores: Mapping[tuple[str, int], float | None],
    *,
    missing: Mapping[str, str],
    brief: bool,
) -> str:
    """Return all scores of a job as score_table has them, or, brief, the one cell's in a line."""
    cell = cell_name(cells[0]) if len(cells) == 1 else cells[0].attention
    title = f"{method} ({cell}), main scores x 100:"
    if not brief:
        return f"{title}\n{score_table(tasks, cells, scores, missing=missing)}"
    names = [task.metadata.name for task in tasks]
    said = [f"{name} {_shown(scores.get((name, 0)))}" for name in names]
    return f"{title} {', '.join([*said, *(f'{name} missing' for name in missing)])}"


def score_table(
    tasks: Sequence[Any],
    cells: Sequence[Method],
    scores: Mapping[tuple[str, int], float | None],
    *,
    missing: Mapping[str, str],
) -> str:
    """Return an aligned table of scores x 100, a row a task; missing and failed ones are named.

    scores: by task name and the cell's place; None: failed. missing: task name -> reason.
    """
    names = _cell_names(cells)
    below = len(cells) > COLUMNS
    head = ["task", "split", "metric", *(["cell", "score"] if below else names)]
    rows = []
    for task in tasks:
        name, about = task.metadata.name, [splits_of(task), task.metadata.main_score]
        shown = [_shown(scores.get((name, place))) for place in range(len(cells))]
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


def _shown(score: float | None) -> str:
    return "failed" if score is None else f"{100 * score:.2f}"


def _cell_names(cells: Sequence[Method]) -> list[str]:
    """What tells cells from each other: the values of the axes in which they differ."""
    differ = [axis for axis in AXES if len({getattr(cell, axis) for cell in cells}) > 1]
    named = [[f"{axis}={getattr(cell, axis)}" for axis in differ] for cell in cells]
    return [" ".join(parts) or "score" for parts in named]
