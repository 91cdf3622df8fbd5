"""Tidy frame -> the tables a paper prints: methods x tasks and methods x task types.

Scores are main scores x 100. What is missing is a dash, and an average over tasks of which one is
missing is withheld: averages over different tasks do not compare. A score that carries its own
standard error is printed with it, is not ranked, and is not part of an average over types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

DASH = "–"
TYPES = [
    *("STS", "PairClassification", "Classification", "Clustering", "Retrieval", "Reranking"),
    *("Summarization", "BitextMining"),
]
# As papers print the seven; other tasks follow by name.
SEVEN_STS = ["STS12", "STS13", "STS14", "STS15", "STS16", "STSBenchmark", "SICK-R"]


@dataclass(frozen=True)
class Table:
    """Numbers (rows of methods), what to print beside them, and what a caption must say.

    values: scores x 100, missing as NaN. errors: standard errors x 100, or NaN.
    """

    name: str
    values: pd.DataFrame
    errors: pd.DataFrame
    caption: str

    def to_markdown(self) -> str:
        """A Markdown table, the best of each column in bold."""
        cells = self._cells(bold="**{}**")
        cells.index = [" ".join(filter(None, map(str, key))) for key in cells.index]
        align = ("left", *["right"] * len(cells.columns))
        return f"{cells.to_markdown(colalign=align)}\n\n{self.caption}\n"

    def to_latex(self) -> str:
        """A LaTeX table (booktabs), the best of each column in bold."""
        cells = self._cells(bold="\\textbf{{{}}}", plus_minus="$\\pm$", dash="--")
        cells.index = [_escape(" ".join(filter(None, map(str, key)))) for key in cells.index]
        cells.columns = [_escape(str(column)) for column in cells.columns]
        return cells.style.to_latex(
            hrules=True,
            column_format="l" + "r" * len(cells.columns),
            caption=_escape(self.caption),
            label=f"tab:{self.name}",
            position_float="centering",
        )

    def to_csv(self) -> str:
        """Plain numbers, missing ones empty."""
        return self.values.round(4).to_csv(index_label=["method", "setting"])

    def write(self, folder: Path) -> list[Path]:
        """Write all three forms; the files."""
        folder.mkdir(parents=True, exist_ok=True)
        forms = {"md": self.to_markdown(), "tex": self.to_latex(), "csv": self.to_csv()}
        files = []
        for suffix, text in forms.items():
            file = folder / f"{self.name}.{suffix}"
            file.write_text(text, encoding="utf-8")
            files.append(file)
        return files

    def _cells(self, *, bold: str, plus_minus: str = "±", dash: str = DASH) -> pd.DataFrame:
        cells = pd.DataFrame(dash, index=self.values.index, columns=self.values.columns)
        for column in self.values.columns:
            numbers = self.values[column].round(1).tolist()
            errors = self.errors[column].tolist()
            ranked = all(map(np.isnan, errors)) and sum(not np.isnan(n) for n in numbers) > 1
            best = np.nanmax(numbers) if ranked else None
            texts = []
            for number, error in zip(numbers, errors, strict=True):
                text = dash if np.isnan(number) else f"{number:.1f}"
                if not np.isnan(error):
                    text += f" {plus_minus} {error:.1f}"
                texts.append(bold.format(text) if number == best else text)
            cells[column] = texts
        return cells


def task_table(frame: pd.DataFrame) -> Table:
    """Methods x tasks, grouped by type, each type of several tasks followed by its average."""
    scores, errors, types = _pivot(frame)
    columns: dict[str, pd.Series] = {}
    for type_ in _ordered(types):
        tasks = [task for task in scores.columns if types[task] == type_]
        columns |= {_short(task): scores[task] for task in tasks}
        ranked = [task for task in tasks if errors[task].isna().all()]
        if len(ranked) > 1:
            columns[f"{type_} avg"] = scores[ranked].mean(axis=1, skipna=False)
    values = pd.DataFrame(columns)
    shown = errors.rename(columns=_short).reindex(columns=values.columns)
    return Table("tasks", values, shown, _caption(frame, "Main scores by task."))


def type_table(frame: pd.DataFrame) -> Table:
    """Methods x task types, with the average over all tasks whose scores are ranked."""
    scores, errors, types = _pivot(frame)
    ranked = [task for task in scores.columns if errors[task].isna().all()]
    columns, spread = {}, {}
    for type_ in _ordered(types):
        tasks = [task for task in scores.columns if types[task] == type_]
        kept = [task for task in tasks if task in ranked] or tasks
        columns[type_] = scores[kept].mean(axis=1, skipna=False)
        spread[type_] = errors[kept].mean(axis=1, skipna=False)
    columns["Average"] = scores[ranked].mean(axis=1, skipna=False)
    values = pd.DataFrame(columns)
    about = f"Averages of main scores by task type; Average: over {len(ranked)} tasks"
    if left := [_short(task) for task in scores.columns if task not in ranked]:
        about += f" (without {', '.join(left)}, whose standard error is printed)"
    shown = pd.DataFrame(spread).reindex(columns=values.columns)
    return Table("types", values, shown, _caption(frame, about + "."))


def labels(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns `label` (the method) and `setting` (all that tells its rows apart) for every row."""
    named = frame.copy()
    named["label"] = named["method"]
    short = named["model"].str.split("/").str[-1]
    parts = {"options": named["options"].fillna("")}
    for column, text in (
        ("attention", named["attention"]),
        ("pooling", named["pooling"]),
        ("layer", "layer " + named["layer"].astype(str)),
        ("dtype", named["dtype"]),
        ("instructions", named["instructions"].fillna("")),
    ):
        varies = frame.groupby(["model", "method"])[column].transform("nunique") > 1
        parts[column] = text.where(varies, "")
    common = short.mode().iat[0] if len(short) else ""
    parts["model"] = short.where(short != common, "")
    parts["adapters"] = named["adapters"].fillna("")
    joined = pd.DataFrame(parts).apply(lambda row: ", ".join(filter(None, row)), axis=1)
    named["setting"] = joined.where(joined == "", "(" + joined + ")")
    return named


def _pivot(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Scores x 100 and their errors, methods x tasks, and each task's type."""
    named = labels(_test_split(frame))
    keys = ["label", "setting"]
    # A task with a failed or missing part has no score: mean(skipna=False) keeps the hole.
    cells = named.groupby([*keys, "task"])
    scores = cells["score"].apply(lambda s: s.mean(skipna=False)).unstack("task") * 100
    errors = cells["score_error"].apply(lambda s: s.astype(float).mean()).unstack("task") * 100
    known = named.dropna(subset=["type"]).drop_duplicates("task").set_index("task")["type"]
    types = {task: known.get(task, "Other") for task in scores.columns}
    seven = [task for task in SEVEN_STS if task in scores.columns]
    names = [*seven, *(task for task in scores.columns if task not in seven)]
    order = [task for type_ in _ordered(types) for task in names if types[task] == type_]
    return scores[order], errors[order], types


def _test_split(frame: pd.DataFrame) -> pd.DataFrame:
    """A task that was scored on several splits is shown on its test split, as papers do."""
    tested = frame[frame["split"] == "test"]["task"].unique()
    return frame[
        ~frame["task"].isin(tested) | frame["split"].isin(["test"]) | frame["split"].isna()
    ]


def _ordered(types: dict[str, str]) -> list[str]:
    present = list(dict.fromkeys(types.values()))
    return sorted(present, key=lambda t: TYPES.index(t) if t in TYPES else len(TYPES))


def _caption(frame: pd.DataFrame, about: str) -> str:
    def told(column: str) -> str:
        return ", ".join(sorted(str(v) for v in frame[column].dropna().unique()))

    missing = frame[frame["status"] != "done"]
    text = f"{about} Models: {told('model')}; {told('dtype')}; commit {told('commit')}."
    if len(missing):
        rows = missing.to_dict("records")
        cells = sorted({f"{row['method']} on {row['task']} ({row['status']})" for row in rows})
        text += f" A dash is a score that is not there: {'; '.join(cells[:6])}"
        text += f" and {len(cells) - 6} more." if len(cells) > 6 else "."
    return text


def _short(task: str) -> str:
    for ending in ("Classification", "PairClassification", "Clustering", "Retrieval"):
        if task.endswith(ending) and task != ending:
            task = task.removesuffix("PairClassification").removesuffix(ending)
    return task


def _escape(text: str) -> str:
    for character in "_&%#":
        text = text.replace(character, f"\\{character}")
    return text.replace(DASH, "--").replace("±", "$\\pm$")


def keep_tasks(frame: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """The rows of some tasks. Raises ValueError for a task that no row has."""
    known = set(frame["task"])
    if unknown := [task for task in tasks if task not in known]:
        raise ValueError(
            f"no record of {', '.join(unknown)}; there are: {', '.join(sorted(known))}"
        )
    return frame.loc[frame["task"].isin(tasks)]
