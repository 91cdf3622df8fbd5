"""What was trained beside zero-shot rows, other people's results and published scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import Comparison
from analysis.labels import KEY
from analysis.render.table import Table
from analysis.score_table import make_score_table
from analysis.view import Options, View

KINDS = ["zero-shot", "trained", "other's"]


def tabulate_trained(comparison: Comparison, options: Options) -> Table | None:
    """Return rows x tasks by kind; None where nothing was trained and nothing is other people's."""
    source, adapters = comparison.rows["source"], comparison.rows["adapters"].fillna("")
    kind = np.where(source != "run", 2, np.where(adapters != "", 1, 0))
    if not kind.any():
        return None
    columns = {comparison.short[task]: [task] for task in comparison.tasks}
    columns["Average"] = comparison.ranked
    about = "Zero-shot, trained, and other people's scores. Other people's are as they state them; "
    about += "‡ of another revision of the data than ours."
    table = make_score_table("trained", comparison, columns, about)
    notes = _mark_revisions(comparison, table)
    order = np.argsort(kind, kind="stable")
    rows = [(KINDS[kind[i]], *table.values.index[i]) for i in order]
    index = pd.MultiIndex.from_tuples(rows, names=["kind", *KEY])
    values, notes = table.values.iloc[order].set_axis(index), notes.iloc[order].set_axis(index)
    return Table(table.name, values, table.caption, notes, table.unranked)


def _mark_revisions(comparison: Comparison, table: Table) -> pd.DataFrame:
    """Return the table's notes, with a mark at scores of another revision of the data than ours."""
    assert table.notes is not None
    notes, frame = table.notes.copy(), comparison.frame
    ours: Any = frame[frame["source"] == "run"].groupby("task")["dataset_revision"].agg(set)
    others: Any = frame[frame["source"] != "run"].itertuples()
    for row in others:
        known = row.task in ours and pd.notna(row.dataset_revision)
        if known and row.dataset_revision not in ours[row.task]:
            notes.loc[[(row.label, row.setting)], comparison.short[str(row.task)]] = " ‡"
    return notes


VIEW = View(table=tabulate_trained, rows="all")
