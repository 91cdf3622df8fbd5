"""How every figure looks, and how it is written: PDF with embedded fonts, and PNG.

Colours are Okabe and Ito's, safe for colour-blind readers; in grey, markers and dashes distinguish
methods. Widths are those of one column of a paper (3.35 inches) and of two (6.9).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

ONE_COLUMN, TWO_COLUMNS = 3.35, 6.9  # inches
MAX_ROWS = 24  # that a figure can show
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


@dataclass(frozen=True)
class Drawing:
    """A figure, the name of its files, and its caption."""

    name: str
    figure: Figure
    caption: str

    @cached_property
    def png(self) -> bytes:
        """The figure as PNG, the same bytes every time."""
        return self._save("png", dpi=200, metadata={"Software": None})

    @cached_property
    def pdf(self) -> bytes:
        """The figure as PDF, the same bytes every time."""
        return self._save("pdf", metadata={"CreationDate": None})

    def write(self, folder: Path) -> list[Path]:
        """Write PDF and PNG into a folder and return the files."""
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for suffix, content in (("pdf", self.pdf), ("png", self.png)):
            file = folder / f"{self.name}.{suffix}"
            file.write_bytes(content)
            files.append(file)
        return files

    def _save(self, format: str, **options: Any) -> bytes:
        content = BytesIO()  # in memory: on a full disk matplotlib's own error would not say so
        with mpl.rc_context(STYLE):
            self.figure.savefig(content, format=format, **options)
        return content.getvalue()


@contextmanager
def open_figure(
    width: float, height: float, across: int = 1, down: int = 1, **more: Any
) -> Iterator[tuple[Figure, list[Any]]]:
    """Open a figure in the style, with its axes. Sizes in inches."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, list(np.ravel(figure.subplots(down, across, **more)))


def iterate_styles() -> Iterator[dict[str, Any]]:
    """Yield the colour, marker and dashes of one row after the other."""
    for colour, marker, dash in zip(cycle(COLOURS), cycle(MARKERS), cycle(DASHES), strict=False):
        yield {"color": colour, "marker": marker, "linestyle": dash}
