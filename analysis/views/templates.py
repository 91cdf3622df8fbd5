"""What the template changes: each one beside the method's own default."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.baselines import compare_with_defaults, describe_defaults
from analysis.caption import write_caption
from analysis.comparison import Comparison
from analysis.render.figure import MAX_ROWS, TWO_COLUMNS, iterate_styles, open_figure
from analysis.render.table import Table, fill
from analysis.view import Options, View


def tabulate_templates(comparison: Comparison, options: Options) -> Table | None:
    """Return templates x tasks; None where no row has another template than its method's."""
    if not comparison.rows["options"].fillna("").str.contains("template=").any():
        return None
    columns = {comparison.short[task]: [task] for task in comparison.tasks}
    columns["Average"] = comparison.ranked
    index = comparison.scores.index
    values, notes = fill(index, columns), fill(index, columns, "")
    for column, tasks in columns.items():
        keys = pd.DataFrame({column: index.to_list()}, index=index)
        one, behind = compare_with_defaults(comparison, keys, tasks)
        values[column], notes[column] = one[column], behind[column]
    about = "Main scores by template; "
    about += describe_defaults(comparison, comparison.tasks, "column")
    caption = write_caption(comparison, about)
    return Table("templates", values, caption, notes, unranked=list(columns))


def draw_templates(comparison: Comparison, options: Options) -> Figure | None:
    """Draw the average score of every row with its interval, the rows of a method in one style."""
    tasks = comparison.ranked
    drawn, means = comparison.resample(tasks), comparison.mean(tasks)
    if not 2 <= len(means) <= MAX_ROWS:
        return None
    with open_figure(TWO_COLUMNS, 0.17 * len(means) + 0.6) as (figure, [axes]):
        methods = comparison.rows["method"]
        styles = dict(zip(methods.unique(), iterate_styles(), strict=False))
        for place, key in enumerate(means.index):
            style = {**styles[methods.iloc[place]], "linestyle": "", "markersize": 5}
            if drawn is not None and key in drawn.estimate:
                axes.plot(
                    drawn.find_interval(key), [place, place], color="0.3", linewidth=1.2, zorder=1
                )
            axes.plot(means[key], place, **style)
        axes.set_yticks(range(len(means)), list(comparison.names.values()))
        axes.invert_yaxis()
        axes.set_xlabel("average score")
    return figure


VIEW = View(
    table=tabulate_templates,
    figure=draw_templates,
    figure_caption="Average score by template, with 95 % intervals.",
)
