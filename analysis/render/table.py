"""A table of numbers, and how it is printed: Markdown, LaTeX (booktabs), CSV.

The best number of a column is bold, the second underlined (in Markdown: italic); what is missing is
a dash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

DASH = "–"
LATEX = {
    **{"\\": "\\textbackslash{}", "_": "\\_", "&": "\\&", "%": "\\%", "#": "\\#", "$": "\\$"},
    **{"^": "\\^{}", "~": "\\~{}", "{": "\\{", "}": "\\}", "<": "$<$", ">": "$>$"},
    **{DASH: "--", "±": "$\\pm$", "†": "$^\\dagger$", "‡": "$^\\ddagger$", "×": "$\\times$"},
    **{"→": "$\\rightarrow$", "−": "$-$", "Δ": "$\\Delta$", "≥": "$\\geq$", "·": "$\\cdot$"},
    **{"α": "$\\alpha$"},
}


@dataclass(frozen=True)
class Table:
    """Numbers, the note printed behind each (an error, a difference, a mark), and a caption.

    name: of its files. values: missing as NaN; an index of several levels is printed as one, joined
    by blanks. notes: text, in the shape of values. unranked: columns without a best. digits: by
    column, else `other_digits`. section: prefix of the name in the LaTeX label. transposed: printed
    with the columns as rows; the best of a column is then that of a row.
    """

    name: str
    values: pd.DataFrame
    caption: str
    notes: pd.DataFrame | None = None
    unranked: Sequence[str] = ()
    digits: dict[str, int] = field(default_factory=dict)
    section: str = ""
    other_digits: int = 1
    transposed: bool = False

    def to_markdown(self) -> str:
        """Return a Markdown table with its caption."""
        cells = self._turn(self.format_cells("**{}**", "*{}*"), _join_lines)
        align = ("left", *["right"] * len(cells.columns))
        text = cells.to_markdown(colalign=align, disable_numparse=True)
        return f"{text}\n\n{self.caption}\n"

    def to_latex(self) -> str:
        """Return a LaTeX table (booktabs); a wide one spans both columns, in smaller type."""
        cells = self._turn(self.format_cells("\\textbf{{{}}}", "\\underline{{{}}}", escape), escape)
        wide = len(cells.columns) > 5
        text = cells.style.to_latex(
            hrules=True,
            column_format="l" + "r" * len(cells.columns),
            caption=escape(self.caption),
            label=f"tab:{self.section}{self.name}",
            position_float="centering",
            environment="table*" if wide else None,
        )
        smaller = "\\centering\n\\footnotesize\n\\setlength{\\tabcolsep}{3pt}\n"
        return text.replace("\\centering\n", smaller, 1) if wide else text

    def to_csv(self) -> str:
        """Return plain numbers, missing ones empty; a column's notes are a column after it."""
        columns = {}
        for place, column in enumerate(self.values.columns):
            columns[column] = self.values.iloc[:, place].round(4)
            if self.notes is not None and (self.notes.iloc[:, place] != "").any():
                columns[f"{column} note"] = self.notes.iloc[:, place].str.strip()
        if self.transposed:
            turned = pd.DataFrame(columns).set_axis(self.name_rows()).T
            return turned.to_csv(index_label="column")
        names = [name or "row" for name in self.values.index.names]
        return pd.DataFrame(columns).to_csv(index_label=names)

    def write(self, folder: Path) -> list[Path]:
        """Write all three forms into a folder and return the files."""
        folder.mkdir(parents=True, exist_ok=True)
        forms = {"md": self.to_markdown(), "tex": self.to_latex(), "csv": self.to_csv()}
        files = []
        for suffix, text in forms.items():
            file = folder / f"{self.name}.{suffix}"
            file.write_text(text, encoding="utf-8")
            files.append(file)
        return files

    def name_rows(self) -> list[str]:
        """Return the name of each row."""
        keys = [key if isinstance(key, tuple) else (key,) for key in self.values.index]
        return [" ".join(filter(None, map(str, key))) for key in keys]

    def _turn(self, cells: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
        """Return printed cells with the names of rows and columns, transposed if this is."""
        cells.index = pd.Index([change(row) for row in self.name_rows()])
        cells.columns = pd.Index([change(str(column)) for column in cells.columns])
        return cells.T if self.transposed else cells

    def format_cells(
        self, best: str, second: str, change: Callable[[str], str] = str
    ) -> pd.DataFrame:
        """Return what is printed. best, second: like "**{}**"; change: for what is no number."""
        cells = pd.DataFrame(DASH, index=self.values.index, columns=self.values.columns)
        notes = np.full(cells.shape, "") if self.notes is None else self.notes.to_numpy(str)
        for place, column in enumerate(self.values.columns):
            digits = self.digits.get(column, self.other_digits)
            numbers = self.values.iloc[:, place].astype(float).round(digits).to_numpy()
            known = np.unique(numbers[~np.isnan(numbers)])[::-1]
            ranked = column not in self.unranked and (~np.isnan(numbers)).sum() > 1
            frames = {known[0]: best} if ranked else {}
            if ranked and len(known) > 1:
                frames[known[1]] = second
            texts = []
            for row, number in enumerate(numbers):
                missing = np.isnan(number)
                text = change(DASH) if missing else f"{number:,.{digits}f}"
                text = text if missing else frames.get(number, "{}").format(text)
                texts.append(text + change(notes[row, place]))
            cells.isetitem(place, texts)
        return cells


def fill(index: pd.Index, columns: Any, value: Any = np.nan) -> pd.DataFrame:
    """Return a frame with one value everywhere."""
    return pd.DataFrame(value, index=index, columns=list(columns))


def _join_lines(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def escape(text: str) -> str:
    """Return text escaped for LaTeX."""
    return "".join(LATEX.get(character, character) for character in text)
