"""What a view is: a table and a figure of the same rows, and the options that both get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from analysis.comparison import Comparison
from analysis.naming import Naming
from analysis.render.table import Table
from analysis.statistics import SAMPLES

# Whose rows: ours alone; with other people's results in mteb's layout; with published scores too.
Rows = Literal["run", "run+mteb", "all"]


@dataclass(frozen=True)
class Options:
    """What the reader of a report chooses; every view gets it.

    published: a CSV of scores to show beside ours. tasks: only these. common: only the tasks that
    all rows of a section have. base: the row that differences are to; None: the best. samples: of
    the bootstrap. naming: of rows. brief: captions leave out models, commit and command.
    """

    published: str | Path | None = None
    tasks: Sequence[str] | None = None
    common: bool = False
    base: str | None = None
    samples: int = SAMPLES
    naming: Naming = Naming()
    brief: bool = False


@dataclass(frozen=True)
class View:
    """A table, a figure, or both. Either function returns None where the rows do not allow it.

    figure: drawn only where the table could be made. figure_caption, figure_name: of the figure;
    without a name its files are named as the view. rows: whose rows are compared, where it is not
    for the report to say.
    """

    table: Callable[[Comparison, Options], Table | None] | None = None
    figure: Callable[[Comparison, Options], Figure | None] | None = None
    figure_caption: str = ""
    figure_name: str = ""
    rows: Rows | None = None
