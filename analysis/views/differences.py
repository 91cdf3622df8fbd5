"""Is one row better than another? Differences to a base row, and ranks over tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.caption import INTERVALS, NOT_TESTED, SIGNIFICANT, write_caption
from analysis.comparison import Comparison
from analysis.labels import order_types
from analysis.render.figure import COLOURS, MAX_ROWS, TWO_COLUMNS, open_figure
from analysis.render.table import Table, fill
from analysis.statistics import holm, wilcoxon
from analysis.view import Options, View

MIN_TASKS = 6  # with fewer, Wilcoxon's test cannot reach 0.05


def tabulate_differences(comparison: Comparison, options: Options) -> Table | None:
    """Return each row minus the base row with intervals by type, Wilcoxon's test over tasks and
    average ranks. None without two rows that have all tasks.

    Raises ValueError for a base that is no such row.
    """
    complete = comparison.complete
    if len(complete) < 2 or not len(comparison.ranked):
        return None
    base = _find_base(comparison, options.base)
    types = order_types(comparison.types)
    columns = {type_: tasks for type_ in types if (tasks := comparison.list_ranked_tasks(type_))}
    if len(columns) > 1:
        columns["Average"] = comparison.ranked
    values, notes = _subtract(comparison, base, columns)
    about = f"Differences to {comparison.names[base]}. {INTERVALS}, {SIGNIFICANT.format('column')}"
    if without := [c for c in columns if not (notes[c] != "").any()]:
        about += NOT_TESTED.format(", ".join(without))
    about += "."
    scores = comparison.scores
    if left := [comparison.names[key] for key in scores.index if key not in complete.index]:
        about += f" Left out, since a task is missing: {', '.join(left)}."
    digits = {"Wilcoxon p": 3, "Rank": 2}
    if len(comparison.ranked) >= MIN_TASKS:
        others = [key for key in complete.index if key != base]
        p_values = holm({key: wilcoxon(complete.loc[key], complete.loc[base]) for key in others})
        values["Wilcoxon p"] = pd.Series(p_values).reindex(complete.index)
        about += f" Wilcoxon p: signed-rank test over the {len(comparison.ranked)} tasks, Holm."
    if (ranking := comparison.ranking) is not None:
        values["Rank"] = ranking.ranks
        about += (
            f" Rank: mean over tasks; Friedman p = {ranking.p_value:.2g}, ranks differ from "
            f"{ranking.critical_difference:.2f} apart (Nemenyi, α = {ranking.alpha})."
        )
    notes = notes.reindex(columns=values.columns, fill_value="")
    caption = write_caption(comparison, about, [])
    return Table("differences", values, caption, notes, list(values.columns), digits)


def _find_base(comparison: Comparison, name: str | None) -> Any:
    """Return the row of a name, or the best of ours by average."""
    complete = comparison.complete
    if name is not None:
        keys = {comparison.names[key]: key for key in complete.index}
        if name not in keys:
            raise ValueError(f"no row is {name!r}; the complete ones: {', '.join(keys)}")
        return keys[name]
    ours = complete[comparison.rows.loc[complete.index, "source"] == "run"]
    return (ours if len(ours) else complete).mean(axis=1).idxmax()


def _subtract(
    comparison: Comparison, base: Any, columns: Mapping[str, Sequence[str]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the differences of the complete rows, and their intervals and stars."""
    index = comparison.complete.index
    values, notes = fill(index, columns), fill(index, columns, "")
    for column, tasks in columns.items():
        means = comparison.mean(tasks)[index]
        values[column] = means - means[base]
        differences = comparison.subtract(base, tasks)
        p_values = holm({key: difference.p_value for key, difference in differences.items()})
        for key, one in differences.items():
            if key in index:
                star = "*" if p_values[key] < 0.05 else ""
                notes.loc[[key], column] = f" [{one.low:.1f}, {one.high:.1f}]{star}"
    return values, notes


def draw_ranks(comparison: Comparison, options: Options) -> Figure | None:
    """Draw average ranks over tasks; a bar joins rows that Nemenyi's test does not tell apart
    (Demsar, JMLR 7, 2006). None for fewer than three complete rows, or more than fit."""
    ranking = comparison.ranking
    if ranking is None or len(ranking.ranks) > MAX_ROWS:
        return None
    ranks, critical = ranking.ranks, ranking.critical_difference
    names = [comparison.names[key] for key in ranks.index]
    joined = find_cliques(ranks.to_list(), critical)
    number, half = len(ranks), (len(ranks) + 1) // 2
    lowest = half + 0.9 + 0.35 * len(joined)
    with open_figure(TWO_COLUMNS, 0.2 * lowest + 0.5) as (figure, [axes]):
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


def find_cliques(ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """Return first and last place of the largest runs of sorted ranks within the critical
    difference."""
    runs = []
    for start in range(len(ranks)):
        end = max(i for i, rank in enumerate(ranks) if rank - ranks[start] <= critical)
        if end > start and (not runs or end > runs[-1][1]):
            runs.append((start, end))
    return runs


VIEW = View(
    table=tabulate_differences,
    figure=draw_ranks,
    figure_name="critical_difference",
    figure_caption="Average ranks over tasks; a bar joins what Nemenyi's test does not tell apart.",
)
