"""The seven STS tasks as papers print them."""

from __future__ import annotations

from analysis.comparison import Comparison
from analysis.labels import SEVEN_STS
from analysis.render.table import Table
from analysis.score_table import make_score_table
from analysis.view import Options, View


def tabulate_sts(comparison: Comparison, options: Options) -> Table | None:
    """Return rows x STS tasks with their average; None unless at least two are there."""
    tasks = [task for task in SEVEN_STS if task in comparison.scores]
    if len(tasks) < 2:
        return None
    names = {"STSBenchmark": "STS-B"}
    columns = {names.get(task, task): [task] for task in tasks}
    about = f"Semantic textual similarity; Avg: over the {len(tasks)} tasks."
    return make_score_table("sts", comparison, {**columns, "Avg.": tasks}, about)


VIEW = View(table=tabulate_sts)
