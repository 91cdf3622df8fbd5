"""What the layer changes that is pooled. Layer 0 is the embeddings, -1 follows the final norm."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.caption import write_caption
from analysis.comparison import Comparison
from analysis.labels import drop_settings
from analysis.render.figure import MAX_ROWS, ONE_COLUMN, iterate_styles, open_figure
from analysis.render.table import Table
from analysis.view import Options, View


def tabulate_layers(comparison: Comparison, options: Options) -> Table | None:
    """Return layers x methods: averages over tasks."""
    values = average_by_layer(comparison)
    if values is None:
        return None
    about = (
        f"Average over {len(comparison.ranked)} tasks by the layer that is pooled; the best layer "
        "of each method in bold. Layer 0 is the embeddings, -1 follows the final norm."
    )
    return Table("layers", values, write_caption(comparison, about, comparison.ranked))


def average_by_layer(comparison: Comparison) -> pd.DataFrame | None:
    """Return layers x (method and what else tells its rows apart), layer -1 last; None for fewer
    than three layers."""
    if comparison.rows["layer"].nunique() < 3:
        return None
    means = comparison.mean(comparison.ranked)
    layers = pd.to_numeric(comparison.rows["layer"])
    columns: dict[str, dict[int, float]] = {}
    key: Any
    for key, layer in layers.dropna().items():
        name = drop_settings(key, [f"layer {layer:.0f}"])
        columns.setdefault(name, {})[int(layer)] = means[key]
    values = pd.DataFrame(columns)
    depths = sorted(layer for layer in values.index if layer >= 0)
    values = values.reindex([*depths, -1]).rename_axis(index="layer").dropna(how="all")
    return values if len(values) else None


def draw_layers(comparison: Comparison, options: Options) -> Figure | None:
    """Draw a curve a method; the last point is after the final norm."""
    values = average_by_layer(comparison)
    if values is None or values.shape[1] > MAX_ROWS:
        return None
    with open_figure(ONE_COLUMN, 3.2) as (figure, [axes]):
        for name, style in zip(values.columns, iterate_styles(), strict=False):
            curve = values[name].dropna()
            curve = curve.rename({-1: max(curve.index, default=0) + 1})
            axes.plot(curve.index, curve, label=name, markersize=3, linewidth=1.1, **style)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("layer (0: embeddings; last: after the final norm)")
        axes.set_ylabel("average score")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


VIEW = View(
    table=tabulate_layers,
    figure=draw_layers,
    figure_caption="Average score by the layer that is pooled.",
)
