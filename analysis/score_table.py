"""Columns of scores and of averages over tasks, with errors and marks.

A score that states its own standard error is printed with it, is not ranked, and is in no average.
† marks rows that are not significantly different from the best of the column (paired bootstrap
over examples, Holm's correction over the column, 0.05).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.caption import NOT_SIGNIFICANT, NOT_TESTED, write_caption
from analysis.comparison import Comparison
from analysis.render.table import Table, fill


def make_score_table(
    name: str, comparison: Comparison, columns: Mapping[str, Sequence[str]], about: str
) -> Table:
    """Return a table of all rows. columns: by name, the tasks each is the average over."""
    index = comparison.scores.index
    values, notes = fill(index, columns), fill(index, columns, "")
    unranked, tested = [], []
    for column, tasks in columns.items():
        values[column] = comparison.mean(tasks)
        errors = comparison.errors[list(tasks)]
        if errors.notna().any(axis=None):
            unranked.append(column)
            joint = np.sqrt((errors**2).sum(axis=1, skipna=False)) / len(tasks)  # independent ones
            notes[column] = [f" ± {e:.1f}" if e == e else "" for e in joint]
        elif (level := comparison.find_level_with_best(tasks)) is not None:
            notes.loc[notes.index.isin(level), column] = " †"
            tested.append(column)
    if tested:
        about += NOT_SIGNIFICANT
        if without := [c for c in columns if c not in [*tested, *unranked]]:
            about += NOT_TESTED.format(", ".join(without))
        about += "."
    shown = [task for tasks in columns.values() for task in tasks]
    caption = write_caption(comparison, about, list(dict.fromkeys(shown)))
    return Table(name, values, caption, notes, unranked)
