"""What a row costs: tokens, operations and time for a text, against its average score."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.caption import write_caption
from analysis.comparison import Comparison
from analysis.labels import KEY
from analysis.render.figure import MAX_ROWS, TWO_COLUMNS, iterate_styles, open_figure
from analysis.render.table import Table
from analysis.view import Options, View


def tabulate_cost(comparison: Comparison, options: Options) -> Table | None:
    """Return what each row's texts cost; None where no record counts tokens."""
    costs = measure_cost(comparison)
    if costs["tokens"].isna().all():
        return None
    values = pd.DataFrame(
        {
            "Average": comparison.mean(comparison.ranked),
            "tokens/text": costs["tokens"],
            "GFLOP/text": costs["gflop"],
            "tokens/s": costs["speed"],
            "texts/s": costs["speed"] / costs["tokens"],
            "seconds": costs["seconds"],
            "MiB": costs["memory"],
        }
    )
    sizes = costs["bytes"].notna().any()
    if sizes:
        values["B/vector"] = costs["bytes"]
    about = (
        "What a method's reading costs. GFLOP/text: two operations a weight of the linear layers "
        "and token, attention over the text left out; tokens/s: inside the model, where texts were "
        "read and not found in a cache; seconds: wall time of the tasks, scoring included; MiB: "
        "the process's peak."
    )
    about += " B/vector: bytes that a vector is stored in." if sizes else ""
    digits = {"GFLOP/text": 2, "tokens/s": 0, "seconds": 0, "MiB": 0, "B/vector": 0}
    caption, unranked = write_caption(comparison, about), list(values.columns[1:])
    return Table("cost", values, caption, unranked=unranked, digits=digits)


MOST = ["peak_memory_mib", "vector_bytes"]  # of which a row's is its tasks' largest


def measure_cost(comparison: Comparison) -> pd.DataFrame:
    """Return by row: tokens and GFLOP a text, tokens a second, seconds, peak MiB, bytes a vector.

    Over the tasks that all of our rows have, so that rows compare.
    """
    frame = comparison.frame
    done = frame[frame["status"].eq("done") & frame["source"].eq("run")]
    done = done.drop_duplicates([*KEY, "task"])
    tasks = done.groupby("task").size()
    done = done[done["task"].isin(tasks[tasks == done.groupby(KEY).ngroups].index)]
    numbers = ["texts", "tokens", "tokens_computed", "tokens_per_second", "seconds"]
    done = done.assign(**{n: pd.to_numeric(done[n]) for n in [*numbers, *MOST]})
    done["busy"] = done["tokens_computed"] / done["tokens_per_second"]
    computed = done[done["busy"] > 0].groupby(KEY)
    rows = done.groupby(KEY)
    tokens = rows["tokens"].sum(min_count=1) / rows["texts"].sum(min_count=1)
    weights = pd.to_numeric(done["linear_weights"]).groupby([done[key] for key in KEY]).max()
    costs = pd.DataFrame(
        {
            "tokens": tokens,
            "gflop": 2 * weights.reindex(tokens.index) * tokens / 1e9,
            "speed": computed["tokens_computed"].sum() / computed["busy"].sum(),
            "seconds": rows["seconds"].sum(min_count=1),
            "memory": rows["peak_memory_mib"].max(),
            "bytes": rows["vector_bytes"].max(),
        }
    )
    return costs.reindex(comparison.scores.index)


def draw_cost(comparison: Comparison, options: Options) -> Figure | None:
    """Draw the average score against each cost; the line is the Pareto front."""
    scores = comparison.mean(comparison.ranked)
    costs = measure_cost(comparison).assign(score=scores).dropna(subset=["score", "tokens"])
    panels = {"tokens": "tokens read a text", "gflop": "GFLOP a text", "time": "s/1,000 texts"}
    costs["time"] = 1000 * costs["tokens"] / costs["speed"]
    shown = {column: label for column, label in panels.items() if costs[column].notna().sum() > 1}
    if not 2 <= len(costs) <= MAX_ROWS or not shown:
        return None
    names = [comparison.names[key] for key in costs.index]
    with open_figure(TWO_COLUMNS, 2.7, len(shown), sharey=True) as (figure, every):
        for axes, (column, label) in zip(every, shown.items(), strict=True):
            for row, style in zip(range(len(costs)), iterate_styles(), strict=False):
                point = costs.iloc[row]
                style = {**style, "linestyle": ""}
                axes.plot(point[column], point["score"], label=names[row], markersize=5, **style)
            front = find_pareto_front(costs[column], costs["score"])
            axes.plot(costs[column].iloc[front], costs["score"].iloc[front], color="0.6", zorder=0)
            axes.set_xscale("log")
            axes.set_xlabel(label)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        every[0].set_ylabel("average score")
        handles, texts = every[0].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside right upper", frameon=False)
    return figure


def find_pareto_front(costs: pd.Series, scores: pd.Series) -> list[int]:
    """Return the places whose score nothing cheaper reaches, by rising cost."""
    front, best = [], -np.inf
    for place in np.lexsort((-scores.to_numpy(), costs.to_numpy())):
        if scores.iloc[place] > best and not np.isnan(costs.iloc[place]):
            front.append(int(place))
            best = scores.iloc[place]
    return front


VIEW = View(
    table=tabulate_cost,
    figure=draw_cost,
    figure_caption="Average score against what reading costs; the line: Pareto front.",
)
