"""Rows beside the row they are compared with: a method's own default, or the method untrained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import Comparison
from analysis.labels import AXES, as_text
from analysis.render.table import fill
from analysis.statistics import holm


def find_default(comparison: Comparison, key: Any) -> Any:
    """Return the row that is a row's method with nothing changed, on the same model; None if none.

    Of several, the one with the same instructions and in the same runs folder.
    """
    own: Any = comparison.rows.loc[[key]].iloc[0]
    rows = comparison.rows[comparison.rows["default"].eq(True)]
    for column in ("method", "model", "revision", "dtype", "adapters"):
        rows = _select_equal(rows, column, own)
    for column in ("instructions", "runs"):
        equal = _select_equal(rows, column, own)
        rows = equal if len(equal) else rows
    return rows.index[0] if len(rows) else None


def find_untrained(comparison: Comparison, key: Any) -> Any:
    """Return the row of the same method and model without adapters; None if there is none.

    Of several, the one that equals the row in options, axes and runs folder as far as possible.
    """
    own: Any = comparison.rows.loc[[key]].iloc[0]
    rows = comparison.rows[comparison.rows["adapters"].fillna("").eq("")]
    for column in ("method", "model", "revision", "dtype"):
        rows = _select_equal(rows, column, own)
    for column in ("options", *AXES, "runs"):
        equal = _select_equal(rows, column, own)
        rows = equal if len(equal) else rows
    return rows.index[0] if len(rows) else None


def _select_equal(rows: pd.DataFrame, column: str, own: pd.Series) -> pd.DataFrame:
    return rows[rows[column].map(as_text).eq(as_text(own[column]))]


def find_trained(comparison: Comparison) -> pd.DataFrame:
    """Return the rows whose records say how they were trained."""
    return comparison.rows[comparison.rows["learning_rate"].notna()]


def compare_with_defaults(
    comparison: Comparison, keys: pd.DataFrame, tasks: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return averages over tasks of the rows named in a frame of keys, and their notes: the
    difference to the row's default, half its interval, and a star where it is significant."""
    tested = [task for task in tasks if task in comparison.evidence]
    means, drawn = comparison.mean(tasks), comparison.resample(tested)
    values, notes = fill(keys.index, keys.columns), fill(keys.index, keys.columns, "")
    p_values: dict[tuple[int, ...], float] = {}
    for place in np.ndindex(keys.shape):
        key: Any = keys.iat[place]
        if key is None:
            continue
        values.iat[place] = means[key]
        base = find_default(comparison, key)
        if base is None or base == key:
            notes.iat[place] = "" if base is None else " (=)"
            continue
        gap = means[key] - means[base]
        notes.iat[place] = "" if np.isnan(gap) else f" ({gap:+.1f})"
        if drawn is not None and key in drawn.estimate and base in drawn.estimate:
            difference = drawn.subtract(key, base)
            if len(tested) == len(tasks):
                notes.iat[place] = f" ({gap:+.1f} ± {difference.margin:.1f})"
            if difference.estimate * gap > 0:
                p_values[place] = difference.p_value
    for (row, column), p_value in holm(p_values).items():
        if p_value < 0.05:
            notes.iat[row, column] = str(notes.iat[row, column]).replace(")", "*)")
    return values, notes


def describe_defaults(comparison: Comparison, tasks: Sequence[str], family: str) -> str:
    """Return what a caption says of the notes. family: what Holm's correction is over."""
    text = (
        f"in parentheses the difference to the method's own default (=) ± half its 95 % interval, "
        f"* p < 0.05 (paired bootstrap over examples, Holm's correction over the {family})."
    )
    known = [comparison.short[task] for task in tasks if task in comparison.evidence]
    if len(known) < len(tasks):
        text += f" Tested on {', '.join(known) or 'no task'}: of other tasks no examples are kept, "
        text += "and an average with them has no interval."
    return text


def star_significant(notes: pd.DataFrame, p_values: dict[tuple[Any, str], float]) -> None:
    """Add a star, in place, to the notes (row, column) whose corrected p-value is below 0.05."""
    for (key, column), p_value in holm(p_values).items():
        if p_value < 0.05:
            notes.loc[[key], column] = notes.loc[[key], column] + "*"
