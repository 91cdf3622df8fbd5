"""Every report there is, by the name that an experiment asks for it with (`report: layers`).

A view is named by its module in analysis/views. This file imports neither pandas nor matplotlib:
the names are checked before a job computes anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.view import Rows


@dataclass(frozen=True)
class Report:
    """A report's name, its views in order, and whose rows they compare."""

    name: str
    views: tuple[str, ...]
    rows: Rows = "run"


SCORES = (
    *("types", "tasks", "sts", "differences", "ranks", "trained", "cost", "similarities"),
    "geometry",
)
TRAINING = ("gains", "seeds", "genres", "tasks", "differences", "types")
REPORTS = {
    report.name: report
    for report in (
        Report("sts", SCORES, rows="run+mteb"),
        Report("main_table", SCORES, rows="run+mteb"),
        Report("attention_x_pooling", ("attention_x_pooling",)),
        Report("layers", ("layers",)),
        Report("templates", ("templates",)),
        Report("post", ("post", "tasks", "cost")),
        Report("prompts", ("prompts", "tasks", "cost")),
        Report("position", ("positions", "cost")),
        Report("trained", TRAINING),
        Report("fair_supervised", TRAINING),
        Report("fair_unsupervised", TRAINING),
        Report("pooling_and_attention", ("pooling_and_attention", "gains", "tasks", "types")),
    )
}
# Of rows that were run for no report: their scores, and the effect of each axis that varies.
RUNS_FOLDER = Report(
    "",
    (*SCORES, "attention_x_pooling", "layers", "templates", "prompts", "post", "positions"),
    rows="run+mteb",
)
# Of other people's results without a row of ours.
OTHERS = Report("results", ("types", "tasks"), rows="all")
