"""Scores by task, each type of several tasks followed by its average."""

from __future__ import annotations

from analysis.comparison import Comparison
from analysis.labels import order_types
from analysis.render.table import Table
from analysis.score_table import make_score_table
from analysis.view import Options, View


def tabulate_tasks(comparison: Comparison, options: Options) -> Table:
    """Return rows x tasks, grouped by type."""
    columns: dict[str, list[str]] = {}
    for type_ in order_types(comparison.types):
        tasks = [task for task in comparison.tasks if comparison.types[task] == type_]
        columns |= {comparison.short[task]: [task] for task in tasks}
        if len(ranked := comparison.list_ranked_tasks(type_)) > 1:
            columns[f"{type_} avg"] = ranked
    return make_score_table("tasks", comparison, columns, "Main scores by task.")


VIEW = View(table=tabulate_tasks)
