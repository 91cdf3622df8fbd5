"""How every figure looks, and how it is written: PDF with embedded fonts, and PNG.

Colours are Okabe and Ito's, told apart by the colour-blind; in grey, markers and dashes tell
methods apart. Widths are those of one column (3.35 inches) and of two (6.9).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

ONE, TWO = 3.35, 6.9  # inches
MOST = 24  # rows that a figure can show
COLOURS = "#0072B2 #D55E00 #009E73 #CC79A7 #E69F00 #56B4E9 #000000 #999999".split()
MARKERS = "o s ^ D v P X * <".split()  # nine, so that the ninth row is no copy of the first
DASHES: list[Any] = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 3))]
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # TrueType: text stays text
    "figure.constrained_layout.use": True,
}


@contextmanager
def drawing(
    width: float, height: float, across: int = 1, down: int = 1, **more: Any
) -> Iterator[tuple[Figure, list[Any]]]:
    """A figure in the style, and its axes. Sizes in inches."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, list(np.ravel(figure.subplots(down, across, **more)))


def styles() -> Iterator[dict[str, Any]]:
    """Colour, marker and dashes of one row after the other."""
    for colour, marker, dash in zip(cycle(COLOURS), cycle(MARKERS), cycle(DASHES), strict=False):
        yield {"color": colour, "marker": marker, "linestyle": dash}


def write(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write PDF and PNG, the same bytes every time; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.pdf", folder / f"{name}.png"]
    with mpl.rc_context(STYLE):
        drawn = [
            BytesIO(),
            BytesIO(),
        ]  # a writer stopped half-way by a full disk says something else
        figure.savefig(drawn[0], format="pdf", metadata={"CreationDate": None})
        figure.savefig(drawn[1], format="png", dpi=200, metadata={"Software": None})
    for file, content in zip(files, drawn, strict=True):
        file.write_bytes(content.getvalue())
    return files
