"""How sure is the order? Ranks with intervals over tasks and examples."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.caption import write_caption
from analysis.comparison import Comparison
from analysis.rank_intervals import RankIntervals, find_detectable_effect, rank_rows
from analysis.render.figure import COLOURS, MAX_ROWS, ONE_COLUMN, open_figure
from analysis.render.table import Table, fill
from analysis.view import Options, View


def measure_ranks(comparison: Comparison) -> RankIntervals | None:
    """Return the ranks of the complete rows; None for fewer than three rows or three tasks, of
    which none could be left out."""
    complete = comparison.complete
    if len(complete) < 3 or len(comparison.ranked) < 3:
        return None
    return rank_rows(complete, comparison.evidence, samples=comparison.samples)


def tabulate_ranks(comparison: Comparison, options: Options) -> Table | None:
    """Return rows by rank: average, rank and its interval, mean rank, Borda, one task left out."""
    found = measure_ranks(comparison)
    if found is None:
        return None
    tasks, scores = comparison.ranked, comparison.complete.loc[found.rows]
    values = pd.DataFrame(
        {
            "Average": scores.mean(axis=1),
            "Rank": found.rank,
            "Without a task": found.without_one["low"],
            "Mean rank": found.mean_rank,
            "Borda": found.borda,
        },
        index=scores.index,
    )
    notes = fill(values.index, values.columns, "")
    letters = found.group()
    notes["Average"] = [f" {letters[key]}" for key in found.rows]
    ends = zip(found.low, found.high, strict=True)
    notes["Rank"] = [f" [{low:.3g}, {high:.3g}]" for low, high in ends]
    ends = zip(found.without_one["low"], found.without_one["high"], strict=True)
    notes["Without a task"] = [f" to {high:g}" if high > low else "" for low, high in ends]
    about = (
        f"Ranks of the average over {len(tasks)} tasks; 95 % intervals in brackets: tasks and "
        f"examples resampled ({comparison.samples} draws)"
    )
    if untested := [comparison.short[task] for task in tasks if task not in found.tested]:
        about += f", tasks alone for {', '.join(untested)}"
    about += (
        ". Rows that share a letter are not told apart: their order is reversed in more than 2.5 % "
        "of the draws. Without a task: the rank when any one task is left out. Mean rank: over "
        "tasks. Borda: rows that a row is above, summed over tasks."
    )
    if (drawn := comparison.resample(tasks)) is not None and len(drawn.estimate) > 1:
        effect = find_detectable_effect(drawn)
        about += (
            f" On these tasks a difference of {effect:.1f} between two rows would be found with "
            f"80 % power (median pair, two-sided 0.05)."
        )
    digits = {"Rank": 1, "Without a task": 1, "Mean rank": 2, "Borda": 1}
    caption = write_caption(comparison, about, [])
    return Table("ranks", values, caption, notes, list(values.columns), digits)


def draw_ranks(comparison: Comparison, options: Options) -> Figure | None:
    """Draw each row's rank with its interval; None where there is no table or it does not fit."""
    found = measure_ranks(comparison)
    if found is None or len(found.rows) > MAX_ROWS:
        return None
    number = len(found.rows)
    with open_figure(ONE_COLUMN, 0.2 * number + 0.6) as (figure, [axes]):
        places = range(number)
        axes.hlines(places, found.low, found.high, color=COLOURS[0], linewidth=1.6)
        axes.plot(found.rank, places, "o", color=COLOURS[0], markersize=4)
        axes.set_yticks(places, [comparison.names[key] for key in found.rows])
        axes.set_xticks(range(1, number + 1))
        axes.set(xlim=(0.5, number + 0.5), ylim=(number - 0.5, -0.5), xlabel="rank")
        axes.grid(axis="x", color="0.9")
    return figure


VIEW = View(
    table=tabulate_ranks,
    figure=draw_ranks,
    figure_name="rank_intervals",
    figure_caption="Rank of the average, with its 95 % interval over tasks and examples.",
)
