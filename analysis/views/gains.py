"""What training gave: each trained row beside the same method untrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.baselines import find_trained, find_untrained, star_significant
from analysis.caption import INTERVALS, SIGNIFICANT, write_caption
from analysis.comparison import Comparison
from analysis.render.table import Table, fill
from analysis.view import Options, View

TRAINING_COLUMNS = {"steps": "steps", "train_seconds": "seconds", "learning_rate": "learning rate"}


def tabulate_training_gains(comparison: Comparison, options: Options) -> Table | None:
    """Return trained rows x (zero-shot, trained) of each task; None where nothing was trained."""
    rows = find_trained(comparison)
    if rows.empty:
        return None
    columns = {comparison.short[task]: [task] for task in comparison.tasks}
    if len(comparison.ranked) > 1:
        columns["Average"] = comparison.ranked
    values, notes = _compare_with_untrained(comparison, rows.index, columns)
    unknown = [name for name in values if values[name].isna().all()]
    values = values.drop(columns=unknown)  # nothing was scored before training
    for column, name in TRAINING_COLUMNS.items():
        values[name] = rows[column].astype(float)
    about = ""
    if (notes != "").any(axis=None):
        about = "Trained beside zero-shot; in parentheses the difference. "
        about += f"{INTERVALS}, {SIGNIFICANT.format('table')}. "
    about += "Steps are of the last adapter, seconds of the chain. Data: "
    about += f"{_describe_data(comparison, rows)}."
    notes = notes.reindex(columns=values.columns, fill_value="")
    digits = {"steps": 0, "seconds": 0, "learning rate": 5}
    caption = write_caption(comparison, about, [])
    return Table("gains", values, caption, notes, list(values.columns), digits)


def _compare_with_untrained(
    comparison: Comparison, index: pd.Index, columns: Mapping[str, Sequence[str]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two columns for each, and the differences with their intervals and stars."""
    names = [f"{column} {kind}" for column in columns for kind in ("zero-shot", "trained")]
    values, notes = fill(index, names), fill(index, names, "")
    p_values: dict[tuple[Any, str], float] = {}
    for column, tasks in columns.items():
        means, drawn = comparison.mean(tasks), comparison.resample(tasks)
        for key in index:
            values.loc[[key], f"{column} trained"] = means[key]
            if (base := find_untrained(comparison, key)) is None:
                continue
            values.loc[[key], f"{column} zero-shot"] = means[base]
            text = f"{means[key] - means[base]:+.1f}"
            if drawn is not None and key in drawn.estimate and base in drawn.estimate:
                one = drawn.subtract(key, base)
                text += f" [{one.low:.1f}, {one.high:.1f}]"
                p_values[key, f"{column} trained"] = one.p_value
            if means[base] == means[base]:
                notes.loc[[key], f"{column} trained"] = f" ({text})"
    star_significant(notes, p_values)
    return values, notes


def _describe_data(comparison: Comparison, rows: pd.DataFrame) -> str:
    """Return what most rows were trained on, then other data with their rows."""
    common = rows["trained_on"].mode()[0]
    others = rows[rows["trained_on"] != common].groupby("trained_on", sort=True)
    named = (f"{data} in {', '.join(comparison.names[k] for k in of.index)}" for data, of in others)
    return "; ".join([common, *named])


VIEW = View(table=tabulate_training_gains)
