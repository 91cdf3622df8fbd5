"""What attention and pooling change: each combination beside the method's own default."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.baselines import compare_with_defaults, describe_defaults, find_default
from analysis.caption import write_caption
from analysis.comparison import Comparison
from analysis.labels import drop_settings, order_attentions, order_poolings
from analysis.render.figure import COLOURS, TWO_COLUMNS, open_figure
from analysis.render.table import Table
from analysis.view import Options, View


def tabulate_combinations(comparison: Comparison, options: Options) -> Table | None:
    """Return methods x (attention, pooling): averages over tasks."""
    keys = arrange_combinations(comparison)
    if keys is None:
        return None
    keys.columns = [f"{attention}, {pooling}" for attention, pooling in keys.columns]
    tasks = comparison.ranked
    about = f"Average over {len(tasks)} tasks by attention and pooling; "
    about += describe_defaults(comparison, tasks, "table")
    values, notes = compare_with_defaults(comparison, keys, tasks)
    caption, unranked = write_caption(comparison, about, tasks), list(values.columns)
    return Table("attention_x_pooling", values, caption, notes, unranked=unranked)


def arrange_combinations(comparison: Comparison) -> pd.DataFrame | None:
    """Return methods x (attention, pooling): the key of the row each combination is.

    None if no method has more than one. Of layers and options only the defaults are shown.
    """
    rows = comparison.rows[comparison.rows["source"] == "run"]
    rows = rows[rows["layer"].eq(-1) & rows["options"].fillna("").eq("")]
    keys: dict[str, dict[Any, Any]] = {}
    for key, row in rows.iterrows():
        pair = (row["attention"], row["pooling"])
        keys.setdefault(drop_settings(key, pair), {})[pair] = key
    if max(map(len, keys.values()), default=0) < 2:
        return None
    attentions, poolings = order_attentions(rows["attention"]), order_poolings(rows["pooling"])
    pairs = [(attention, pooling) for attention in attentions for pooling in poolings]
    names = sorted(keys)
    cells = [[keys[name].get(pair) for pair in pairs] for name in names]
    columns = pd.MultiIndex.from_tuples(pairs)
    return pd.DataFrame(cells, index=pd.Index(names, name="method"), columns=columns)


def draw_combinations(comparison: Comparison, options: Options) -> Figure | None:
    """Draw a heat map of the averages over tasks; a frame marks a method's own default."""
    keys = arrange_combinations(comparison)
    if keys is None:
        return None
    means = comparison.mean(comparison.ranked)
    numbers = np.array(
        [[np.nan if key is None else means[key] for key in row] for row in keys.to_numpy()]
    )
    if not np.isfinite(numbers).any():
        return None
    with open_figure(TWO_COLUMNS, 0.3 * len(keys) + 1.1) as (figure, [axes]):
        image = axes.imshow(numbers, cmap="cividis", aspect="auto")
        middle = np.nanmean([np.nanmin(numbers), np.nanmax(numbers)])
        for (row, column), number in np.ndenumerate(numbers):
            if not np.isnan(number):
                ink = "white" if number < middle else "black"
                axes.text(column, row, f"{number:.1f}", ha="center", va="center", color=ink)
            key: Any = keys.iat[row, column]
            if key is not None and find_default(comparison, key) == key:
                box = Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False)
                box.set(edgecolor=COLOURS[1], linewidth=1.8)
                axes.add_patch(box)
        names = [f"{pooling.replace('_', ' ')}\n{attention}" for attention, pooling in keys.columns]
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(keys)), list(keys.index))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, label="average score", pad=0.01).outline.set_visible(False)
    return figure


VIEW = View(
    table=tabulate_combinations,
    figure=draw_combinations,
    figure_caption="Average score by attention and pooling; framed: the method's own default.",
)
