"""Scores by task type: the averages of a main table, and bars with intervals."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analysis.comparison import Comparison
from analysis.labels import order_types
from analysis.render.figure import COLOURS, MAX_ROWS, TWO_COLUMNS, open_figure
from analysis.render.table import Table
from analysis.score_table import make_score_table
from analysis.view import Options, View


def tabulate_types(comparison: Comparison, options: Options) -> Table:
    """Return rows x task types, with the average over all tasks whose scores are ranked."""
    columns = {
        type_: comparison.list_ranked_tasks(type_)
        or [task for task in comparison.tasks if comparison.types[task] == type_]
        for type_ in order_types(comparison.types)
    }
    about = f"Averages of main scores by task type, over {len(comparison.ranked)} tasks"
    unranked = [task for task in comparison.tasks if task not in comparison.ranked]
    if left := [comparison.short[task] for task in unranked]:
        about += f" (without {', '.join(left)}, whose standard error is printed)"
    if len(columns) > 1:
        columns["Average"] = comparison.ranked
    return make_score_table("types", comparison, columns, about + ".")


def draw_types(comparison: Comparison, options: Options) -> Figure | None:
    """Draw a bar a row for each type, with 95 % intervals where examples are recorded."""
    types = [
        type_ for type_ in order_types(comparison.types) if comparison.list_ranked_tasks(type_)
    ]
    number = len(comparison.scores)
    if not types or number > MAX_ROWS:
        return None
    size = (TWO_COLUMNS, 0.16 * number + 0.8, len(types))
    with open_figure(*size, sharey=True) as (figure, every):
        for axes, type_ in zip(every, types, strict=True):
            tasks = comparison.list_ranked_tasks(type_)
            means, drawn = comparison.mean(tasks), comparison.resample(tasks)
            for place, key in enumerate(comparison.scores.index):
                if np.isnan(means[key]):
                    axes.text(0, place, " –", va="center")
                    continue
                axes.barh(place, means[key], color=COLOURS[5], height=0.7)
                if drawn is not None and key in drawn.estimate:
                    axes.plot(
                        drawn.find_interval(key), [place, place], color="black", linewidth=1.4
                    )
            axes.set_title(f"{type_} ({len(tasks)})")
        every[0].set_ylim(-0.5, number - 0.5)
        every[0].set_yticks(range(number), list(comparison.names.values()))
        every[0].invert_yaxis()
        figure.supxlabel("main score, averaged over tasks (their number in parentheses)", size=8)
    return figure


VIEW = View(
    table=tabulate_types,
    figure=draw_types,
    figure_caption="Scores by task type, with 95 % intervals over examples.",
)
