"""How a row's vectors lie in their space: anisotropy, effective rank, centring and whitening."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.caption import write_caption
from analysis.comparison import Comparison
from analysis.labels import KEY
from analysis.records.columns import GEOMETRY
from analysis.render.figure import COLOURS, MAX_ROWS, TWO_COLUMNS, iterate_styles, open_figure
from analysis.render.table import Table
from analysis.view import Options, View

# The columns in order, and how they are headed; `score` beside what is measured of pairs.
HEADS = {
    "mean_cosine": "cosine",
    "uniformity": "uniformity",
    "effective_rank": "rank",
    "top_dimension": "top dim.",
    "top_components": "top 10 PCs",
    "alignment": "alignment",
    "score": "score",
    "centred": "centred",
    "whitened": "whitened",
}
PAIR_SCORES = ["score", "centred", "whitened"]


def tabulate_geometry(comparison: Comparison, options: Options) -> Table | None:
    """Return each row's measures of its space; None where no record has them."""
    measures = measure_geometry(comparison)
    if measures["mean_cosine"].isna().all():
        return None
    values = measures.rename(columns=HEADS)
    about = (
        "The embedding space. cosine: mean over random pairs; rank: effective rank; top dim., top "
        "10 PCs: their share of the variance; uniformity, alignment: Wang and Isola (2020), lower "
        "is better. The last four over the tasks of pairs: score as it is, after centring, after "
        "whitening on the task's own texts. Means over the tasks that all rows have which have the "
        "measure at all."
    )
    digits = {n: 2 for n in ("cosine", "uniformity", "top dim.", "top 10 PCs", "alignment")}
    unranked = [head for column, head in HEADS.items() if column not in PAIR_SCORES]
    caption = write_caption(comparison, about)
    return Table("geometry", values, caption, unranked=unranked, digits=digits)


def measure_geometry(comparison: Comparison) -> pd.DataFrame:
    """Return by row the columns of HEADS: each a mean over the tasks that all rows have which have
    the measure at all."""
    done = comparison.frame[comparison.frame["status"] == "done"]
    columns = ["score", *GEOMETRY]
    done = done.assign(**{name: pd.to_numeric(done[name]) for name in columns})
    by_task = done[done["mean_cosine"].notna()].groupby([*KEY, "task"])[columns].mean()
    rows = by_task.groupby(KEY).ngroups
    by_task["score"] = by_task["score"].where(by_task["centred"].notna())
    by_task[PAIR_SCORES] *= 100
    means = {}
    for column in HEADS:
        cells = by_task[column].unstack("task") if rows else pd.DataFrame()
        means[column] = cells.dropna(how="all").dropna(axis=1).mean(axis=1)
    return pd.DataFrame(means).reindex(comparison.scores.index)


def draw_geometry(comparison: Comparison, options: Options) -> Figure | None:
    """Draw the cosine of random pairs, the effective rank and, for tasks of pairs, the score as it
    is, after centring and after whitening."""
    measures = measure_geometry(comparison)
    number = len(measures)
    if measures["mean_cosine"].isna().all() or number > MAX_ROWS:
        return None
    pairs = measures["score"].notna().any()
    size = (TWO_COLUMNS, 0.17 * number + 0.9, 3 if pairs else 2)
    with open_figure(*size, sharey=True) as (figure, every):
        places = range(number)
        every[0].barh(places, measures["mean_cosine"], color=COLOURS[5], height=0.7)
        every[0].set_title("mean cosine of random pairs")
        every[1].barh(places, measures["effective_rank"], color=COLOURS[5], height=0.7)
        every[1].set_title("effective rank")
        if pairs:
            for column, style in zip(PAIR_SCORES, iterate_styles(), strict=False):
                style = {**style, "linestyle": "", "markersize": 5}
                every[2].plot(measures[column], places, label=column, **style)
            every[2].set_title("score on pairs")
            figure.legend(loc="outside lower right", ncols=3, frameon=False)
        every[0].set_yticks(places, list(comparison.names.values()))
        every[0].invert_yaxis()
    return figure


VIEW = View(
    table=tabulate_geometry,
    figure=draw_geometry,
    figure_caption="The embedding space: anisotropy, effective rank, whitening.",
)
