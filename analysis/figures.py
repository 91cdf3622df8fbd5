"""The figures of a paper, each a function of a comparison; None where its rows do not allow it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from analysis.comparison import Comparison
from analysis.measures import cost, geometry
from analysis.names import KEY, ordered
from analysis.results import load_examples
from analysis.style import COLOURS, MOST, ONE, TWO, drawing, styles
from analysis.variants import COMBINATIONS, attention_x_pooling, by_layer


def heatmap(found: Comparison) -> Figure | None:
    """Methods x (attention, pooling), averages over tasks; a frame marks a method's own default."""
    keys = attention_x_pooling(found)
    if keys is None:
        return None
    means = found.mean(found.ranked)
    numbers = np.array(
        [[np.nan if key is None else means[key] for key in row] for row in keys.to_numpy()]
    )
    if not np.isfinite(numbers).any():
        return None
    with drawing(TWO, 0.3 * len(keys) + 1.1) as (figure, [axes]):
        image = axes.imshow(numbers, cmap="cividis", aspect="auto")
        middle = np.nanmean([np.nanmin(numbers), np.nanmax(numbers)])
        for (row, column), number in np.ndenumerate(numbers):
            if not np.isnan(number):
                ink = "white" if number < middle else "black"
                axes.text(column, row, f"{number:.1f}", ha="center", va="center", color=ink)
            key: Any = keys.iat[row, column]
            if key is not None and found.default_of(key) == key:
                box = Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False)
                box.set(edgecolor=COLOURS[1], linewidth=1.8)
                axes.add_patch(box)
        names = [f"{pool.replace('_', ' ')}\n{attention}" for attention, pool in COMBINATIONS]
        axes.set_xticks(range(len(COMBINATIONS)), names)
        axes.set_yticks(range(len(keys)), list(keys.index))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, label="average score", pad=0.01).outline.set_visible(False)
    return figure


def layer_curves(found: Comparison) -> Figure | None:
    """Average score by layer, a curve a method; the last point is after the final norm."""
    values = by_layer(found)
    if values is None or values.shape[1] > MOST:
        return None
    with drawing(ONE, 3.2) as (figure, [axes]):
        for name, style in zip(values.columns, styles(), strict=False):
            curve = values[name].dropna()
            curve = curve.rename({-1: max(curve.index, default=0) + 1})
            axes.plot(curve.index, curve, label=name, markersize=3, linewidth=1.1, **style)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("layer (0: embeddings; last: after the final norm)")
        axes.set_ylabel("average score")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def price(found: Comparison) -> Figure | None:
    """Average score against what reading costs; the line is the Pareto front."""
    costs = cost(found).assign(score=found.mean(found.ranked)).dropna(subset=["score", "tokens"])
    panels = {"tokens": "tokens read a text", "gflop": "GFLOP a text", "time": "s/1,000 texts"}
    costs["time"] = 1000 * costs["tokens"] / costs["speed"]
    shown = {column: label for column, label in panels.items() if costs[column].notna().sum() > 1}
    if not 2 <= len(costs) <= MOST or not shown:
        return None
    names = [found.names[key] for key in costs.index]
    with drawing(TWO, 2.7, len(shown), sharey=True) as (figure, every):
        for axes, (column, label) in zip(every, shown.items(), strict=True):
            for row, style in zip(range(len(costs)), styles(), strict=False):
                point = costs.iloc[row]
                style = {**style, "linestyle": ""}
                axes.plot(point[column], point["score"], label=names[row], markersize=5, **style)
            front = pareto(costs[column], costs["score"])
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


def pareto(costs: pd.Series, scores: pd.Series) -> list[int]:
    """Places of what nothing cheaper matches, by rising cost."""
    front, best = [], -np.inf
    for place in np.lexsort((-scores.to_numpy(), costs.to_numpy())):
        if scores.iloc[place] > best and not np.isnan(costs.iloc[place]):
            front.append(int(place))
            best = scores.iloc[place]
    return front


def critical_difference(found: Comparison) -> Figure | None:
    """Average ranks over tasks; a bar joins rows that Nemenyi's test does not tell apart (Demsar,
    JMLR 7, 2006). None for fewer than three complete rows, or more than fit."""
    ranking = found.ranking
    if ranking is None or len(ranking.ranks) > MOST:
        return None
    ranks, critical = ranking.ranks, ranking.critical_difference
    names = [found.names[key] for key in ranks.index]
    joined = cliques(ranks.to_list(), critical)
    number, half = len(ranks), (len(ranks) + 1) // 2
    lowest = half + 0.9 + 0.35 * len(joined)
    with drawing(TWO, 0.2 * lowest + 0.5) as (figure, [axes]):
        axes.set(xlim=(number + 1.8, -0.8), ylim=(lowest, -1.7))
        axes.axis("off")
        axes.plot([1, number], [0, 0], color="black", linewidth=0.9)
        for tick in range(1, number + 1):
            axes.plot([tick, tick], [0, -0.2], color="black", linewidth=0.9)
            axes.text(tick, -0.35, str(tick), ha="center", va="bottom")
        axes.plot([1, 1 + critical], [-1.25, -1.25], color=COLOURS[1], linewidth=2)
        axes.text(1 + critical / 2, -1.3, f"CD = {critical:.2f}", ha="center", va="bottom")
        for level, (start, end) in enumerate(joined):
            height = 0.35 + 0.35 * level
            ends = [ranks.iloc[start] - 0.05, ranks.iloc[end] + 0.05]
            axes.plot(ends, [height, height], color="black", linewidth=2.6, solid_capstyle="butt")
        for place, (rank, name) in enumerate(zip(ranks, names, strict=True)):
            better = place < half
            level = place if better else number - 1 - place
            height = 0.7 + 0.35 * len(joined) + level
            edge, align = (0.7, "left") if better else (number + 0.3, "right")
            axes.plot([rank, rank, edge], [0, height, height], color="0.35", linewidth=0.7)
            text = f"{name}  {rank:.2f}" if not better else f"{rank:.2f}  {name}"
            axes.text(edge - 0.05 if better else edge + 0.05, height, text, ha=align, va="center")
    return figure


def cliques(ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """First and last place of the largest runs of sorted ranks within the critical difference."""
    runs = []
    for start in range(len(ranks)):
        end = max(i for i, rank in enumerate(ranks) if rank - ranks[start] <= critical)
        if end > start and (not runs or end > runs[-1][1]):
            runs.append((start, end))
    return runs


def type_bars(found: Comparison) -> Figure | None:
    """Scores by task type, with 95 % intervals where examples are kept."""
    types = [type_ for type_ in ordered(found.types) if found.tasks_of(type_)]
    if not types or len(found.scores) > MOST:
        return None
    number = len(found.scores)
    with drawing(TWO, 0.16 * number + 0.8, len(types), sharey=True) as (figure, every):
        for axes, type_ in zip(every, types, strict=True):
            tasks = found.tasks_of(type_)
            means, drawn = found.mean(tasks), found.resampled(tasks)
            for place, key in enumerate(found.scores.index):
                if np.isnan(means[key]):
                    axes.text(0, place, " –", va="center")
                    continue
                axes.barh(place, means[key], color=COLOURS[5], height=0.7)
                if drawn is not None and key in drawn.estimate:
                    axes.plot(drawn.interval(key), [place, place], color="black", linewidth=1.4)
            axes.set_title(f"{type_} ({len(tasks)})")
        every[0].set_ylim(-0.5, number - 0.5)
        every[0].set_yticks(range(number), list(found.names.values()))
        every[0].invert_yaxis()
        figure.supxlabel("main score, averaged over tasks (their number in parentheses)", size=8)
    return figure


def similarities(found: Comparison) -> Figure | None:
    """Similarities of pairs that people rate high and low, over all STS tasks."""
    frame = found.frame[found.frame["unit"].eq("pair") & found.frame["type"].eq("STS")]
    frame = frame[frame["status"] == "done"]
    pairs: dict[Any, pd.DataFrame] = {}
    for key, own in frame.groupby(KEY):
        kept = [load_examples(row["folder"], row["task"]) for _, row in own.iterrows()]
        kept = [part[part["split"].isin(own["split"])] for part in kept if part is not None]
        if kept:
            pairs[key] = pd.concat(kept).dropna(subset=["value"])
    rows = [key for key in found.scores.index if key in pairs]
    if not rows or len(rows) > MOST:
        return None
    across = min(3, len(rows))
    down = -(-len(rows) // across)
    edges = np.linspace(-0.2, 1, 61)
    with drawing(TWO, 1.05 * down + 0.6, across, down, sharex=True) as (figure, every):
        for axes, key in zip(every, rows, strict=False):
            for above, name, style in ((True, "alike", 0), (False, "unlike", 1)):
                gold = pairs[key]["gold"]
                part = pairs[key][gold > 0.8 if above else gold < 0.2]
                if not part["value"].between(edges[0], edges[-1]).any():
                    continue  # nothing to draw, and a density would divide by none
                axes.hist(
                    part["value"], edges, density=True, histtype="stepfilled", alpha=0.55,
                    facecolor=COLOURS[style], hatch="" if above else "////", edgecolor="white",
                    linewidth=0, label=name,
                )  # fmt: skip
            axes.set_title(found.names[key])
            axes.set_yticks([])
        for axes in every[len(rows) :]:
            axes.set_visible(False)
        handles, texts = every[0].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower right", ncols=2, frameon=False)
        figure.supxlabel(
            "similarity of pairs rated above 0.8 of the scale (alike), below 0.2 (unlike)",
            size=8,
        )
    return figure


def spaces(found: Comparison) -> Figure | None:
    """Three looks at the embedding space: cosine of random pairs, effective rank, and the score on
    pairs as it is, after centring and after whitening."""
    measures = geometry(found)
    number = len(measures)
    if measures["mean_cosine"].isna().all() or number > MOST:
        return None
    pairs = measures["score"].notna().any()
    with drawing(TWO, 0.17 * number + 0.9, 3 if pairs else 2, sharey=True) as (figure, every):
        places = range(number)
        every[0].barh(places, measures["mean_cosine"], color=COLOURS[5], height=0.7)
        every[0].set_title("mean cosine of random pairs")
        every[1].barh(places, measures["effective_rank"], color=COLOURS[5], height=0.7)
        every[1].set_title("effective rank")
        if pairs:
            for column, style in zip(("score", "centred", "whitened"), styles(), strict=False):
                style = {**style, "linestyle": "", "markersize": 5}
                every[2].plot(measures[column], places, label=column, **style)
            every[2].set_title("score on pairs")
            figure.legend(loc="outside lower right", ncols=3, frameon=False)
        every[0].set_yticks(places, list(found.names.values()))
        every[0].invert_yaxis()
    return figure


def variants(found: Comparison) -> Figure | None:
    """Average score of every row with its interval, the rows of a method together."""
    drawn, means = found.resampled(found.ranked), found.mean(found.ranked)
    if len(means) < 2 or len(means) > MOST:
        return None
    with drawing(TWO, 0.17 * len(means) + 0.6) as (figure, [axes]):
        looks = dict(zip(found.rows["method"].unique(), styles(), strict=False))
        for place, key in enumerate(means.index):
            style = {**looks[found.rows["method"].iloc[place]], "linestyle": "", "markersize": 5}
            if drawn is not None and key in drawn.estimate:
                axes.plot(drawn.interval(key), [place, place], color="0.3", linewidth=1.2, zorder=1)
            axes.plot(means[key], place, **style)
        axes.set_yticks(range(len(means)), list(found.names.values()))
        axes.invert_yaxis()
        axes.set_xlabel("average score")
    return figure
