"""How similar a row's vectors are of pairs that people rate alike, and unlike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison import Comparison
from analysis.labels import KEY
from analysis.records.results import load_examples
from analysis.render.figure import COLOURS, MAX_ROWS, TWO_COLUMNS, open_figure
from analysis.view import Options, View

ALIKE, UNLIKE = 0.8, 0.2  # of the scale: rated above, rated below


def draw_similarities(comparison: Comparison, options: Options) -> Figure | None:
    """Draw a histogram a row of the similarities of alike and of unlike pairs, over all STS tasks;
    None where no examples are recorded."""
    pairs = _load_pairs(comparison)
    rows = [key for key in comparison.scores.index if key in pairs]
    if not rows or len(rows) > MAX_ROWS:
        return None
    across = min(3, len(rows))
    down = -(-len(rows) // across)
    size = (TWO_COLUMNS, 1.05 * down + 0.6, across, down)
    with open_figure(*size, sharex=True) as (figure, every):
        for axes, key in zip(every, rows, strict=False):
            _draw_histograms(axes, pairs[key])
            axes.set_title(comparison.names[key])
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


def _load_pairs(comparison: Comparison) -> dict[Any, pd.DataFrame]:
    """Return the pairs of each row that recorded them, of the splits that are shown."""
    frame = comparison.frame
    frame = frame[frame["unit"].eq("pair") & frame["type"].eq("STS")]
    frame = frame[frame["status"] == "done"]
    pairs: dict[Any, pd.DataFrame] = {}
    for key, own in frame.groupby(KEY):
        loaded = [load_examples(row["folder"], row["task"]) for _, row in own.iterrows()]
        loaded = [part[part["split"].isin(own["split"])] for part in loaded if part is not None]
        if loaded:
            pairs[key] = pd.concat(loaded).dropna(subset=["value"])
    return pairs


def _draw_histograms(axes: Any, pairs: pd.DataFrame) -> None:
    edges = np.linspace(-0.2, 1, 61)
    alike, unlike = pairs[pairs["gold"] > ALIKE], pairs[pairs["gold"] < UNLIKE]
    for part, name, colour, hatch in ((alike, "alike", 0, ""), (unlike, "unlike", 1, "////")):
        if not part["value"].between(edges[0], edges[-1]).any():
            continue  # nothing to draw, and a density would divide by zero
        axes.hist(
            part["value"], edges, density=True, histtype="stepfilled", alpha=0.55,
            facecolor=COLOURS[colour], hatch=hatch, edgecolor="white", linewidth=0, label=name,
        )  # fmt: skip


VIEW = View(
    figure=draw_similarities,
    figure_caption="Similarities of STS pairs that people rate above 0.8 of the scale, and below "
    "0.2.",
)
