"""How much of a vector comes from where in a text, for tasks that score every place.

Such tasks (methods/evaluation/position_tasks.py) have `share_0`, `share_1` ... among their scores:
what an edit at each place changes of a vector, as a share of the sum over places.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison import Comparison
from analysis.labels import KEY
from analysis.records.results import load_scores
from analysis.render.figure import MAX_ROWS, TWO_COLUMNS, iterate_styles, open_figure
from analysis.render.table import Table
from analysis.score_table import make_score_table
from analysis.view import Options, View

METRIC = "early_share"


def tabulate_positions(comparison: Comparison, options: Options) -> Table | None:
    """Return rows x tasks: the share of the first half of a text. None without such tasks."""
    tasks = list_tasks(comparison)
    if not tasks:
        return None
    about = (
        "Share (in percent) of the first half of a text in what edits change of its vector: 50 if "
        "all places weigh alike, more if the beginning outweighs the end; ± is the standard error "
        "over texts. PositionRemovalN: a fifth of N words is removed at five places. "
        "PositionInsertionN: words of another text are inserted at six places. No value is better "
        "than another."
    )
    return make_score_table("positions", comparison, {task: [task] for task in tasks}, about)


def list_tasks(comparison: Comparison) -> list[str]:
    """Return the tasks that score places, as they were first evaluated."""
    frame = comparison.frame
    own = frame[frame["metric"].eq(METRIC) & frame["status"].eq("done")]
    return [task for task in dict.fromkeys(own["task"]) if task in comparison.tasks]


def load_shares(comparison: Comparison, task: str) -> dict[Any, pd.Series]:
    """Return each row's share of each place, from 0 (the beginning) to 1."""
    frame = comparison.frame
    own = frame[frame["task"].eq(task) & frame["status"].eq("done")]
    found: dict[Any, pd.Series] = {}
    for key, row in own.drop_duplicates(KEY).set_index(KEY).iterrows():
        for scores in load_scores(row["folder"], task):
            shares = [scores[name] for name in _name_shares(scores)]
            if shares:
                places = [place / (len(shares) - 1) for place in range(len(shares))]
                found[key] = pd.Series(shares, index=places)
    return found


def _name_shares(scores: dict[str, Any]) -> list[str]:
    names = [name for name in scores if name.removeprefix("share_").isdecimal()]
    return sorted(names, key=lambda name: int(name.removeprefix("share_")))


def draw_positions(comparison: Comparison, options: Options) -> Figure | None:
    """Draw a panel a task: each row's shares by place."""
    tasks = list_tasks(comparison)
    rows = list(comparison.scores.index)
    if not tasks or len(rows) > MAX_ROWS:
        return None
    with open_figure(TWO_COLUMNS, 2.6, len(tasks), 1, sharey=True) as (figure, every):
        for axes, task in zip(every, tasks, strict=True):
            shares = load_shares(comparison, task)
            for key, style in zip(rows, iterate_styles(), strict=False):
                if key in shares:
                    own = shares[key] * 100
                    axes.plot(own.index, own, label=comparison.names[key], markersize=3, **style)
            places = max(map(len, shares.values()), default=1)
            axes.axhline(100 / places, color="0.7", linewidth=0.7, zorder=0)  # all places alike
            axes.set_title(task)
            axes.set_xticks([0, 0.5, 1], ["begin", "", "end"])
        every[0].set_ylabel("share of the change (%)")
        handles, texts = every[0].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower center", ncols=4, frameon=False)
    return figure


VIEW = View(
    table=tabulate_positions,
    figure=draw_positions,
    figure_caption="Share of each place of a text in what edits change of its vector; the grey "
    "line: all places alike.",
)
