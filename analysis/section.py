"""Make one section of a report: rows that are compared, and their tables and figures."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from analysis.comparison import Comparison, compare
from analysis.records.consistency import find_inconsistencies
from analysis.render.figure import Drawing
from analysis.render.table import Table
from analysis.reports import Report
from analysis.view import Options, Rows, View

BESIDE: dict[Rows, list[str]] = {"run": [], "run+mteb": ["mteb"], "all": ["mteb", "published"]}


@dataclass(frozen=True)
class Section:
    """Rows that belong together, and what is made of them.

    comparison: of the rows that the report compares; a single view may compare more.
    """

    name: str
    comparison: Comparison
    tables: list[Table]
    figures: list[Drawing]
    warnings: list[str]

    def write(self, folder: Path) -> None:
        """Write every table and figure into a folder."""
        for table in self.tables:
            table.write(folder)
        for drawing in self.figures:
            drawing.write(folder)


def make_section(
    name: str, report: Report, ours: pd.DataFrame, theirs: pd.DataFrame, options: Options
) -> Section:
    """Make the views of a report. theirs: other people's results and published scores.

    Raises ValueError for a base that is no row, or for common tasks where there are none.
    """
    comparisons: dict[tuple[str, ...], Comparison] = {}  # by the sources beside ours

    def compare_rows(rows: Rows) -> Comparison:
        beside = theirs[theirs["source"].isin(BESIDE[rows])]
        sources = tuple(beside["source"].unique())
        if sources not in comparisons:
            frame = pd.concat([part for part in (ours, beside) if len(part)])
            comparisons[sources] = compare(
                frame,
                samples=options.samples,
                common=options.common,
                naming=options.naming,
                brief=options.brief,
            )
        return comparisons[sources]

    of_report = compare_rows(report.rows)
    tables, figures = [], []
    for view_name in report.views:
        view = load_view(view_name)
        comparison = compare_rows(view.rows or report.rows)
        if view.table is not None:
            table = view.table(comparison, options)
            if table is None:
                continue
            tables.append(replace(table, section=f"{name}-"))
        if view.figure is not None:
            figure = view.figure(comparison, options)
            if figure is not None:
                file_name = view.figure_name or view_name
                figures.append(Drawing(file_name, figure, view.figure_caption))
    widest = comparisons[max(comparisons, key=len)]
    warnings = find_inconsistencies(widest.frame)
    return Section(name, of_report, tables, figures, warnings)


def load_view(name: str) -> View:
    """Return the VIEW of the module of that name in analysis/views."""
    return importlib.import_module(f"analysis.views.{name}").VIEW
