"""A tidy frame -> what tables and figures are drawn from: named rows, scores, and evidence.

Scores are main scores x 100. What is missing is NaN, and so is an average over tasks of which one
is missing: averages over different tasks do not compare.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from analysis.results import load_examples
from analysis.statistics import SAMPLES, Difference, Resampled, average, holm, resample

log = logging.getLogger(__name__)

TYPES = [
    *("STS", "PairClassification", "Classification", "Clustering", "Retrieval", "Reranking"),
    *("Summarization", "BitextMining"),
]
# As papers print the seven; other tasks follow by name.
SEVEN_STS = ["STS12", "STS13", "STS14", "STS15", "STS16", "STSBenchmark", "SICK-R"]
AXES = ["attention", "pooling", "layer", "dtype", "instructions"]
KEY = ["label", "setting"]


@dataclass(frozen=True)
class Comparison:
    """Rows to compare. A row is known by its key: its label (the method) and its setting.

    frame: the tidy rows with `label` and `setting`, the test split where a task was scored on
    several. common: the tasks all rows have, if it was asked to keep to those.
    """

    frame: pd.DataFrame
    samples: int = SAMPLES
    common: Sequence[str] | None = None

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Rows x tasks, by type. A task with a failed or missing part has no score."""
        return self._pivot("score")

    @cached_property
    def errors(self) -> pd.DataFrame:
        """Standard errors that tasks state themselves, like scores."""
        return self._pivot("score_error")

    @cached_property
    def types(self) -> dict[str, str]:
        """Each task's type."""
        known = self.frame.dropna(subset=["type"]).drop_duplicates("task").set_index("task")["type"]
        return {task: known.get(task, "Other") for task in sorted(set(self.frame["task"]))}

    @property
    def tasks(self) -> list[str]:
        """The tasks, by type."""
        return _names(self.scores)

    @cached_property
    def ranked(self) -> list[str]:
        """The tasks that averages are over: those that state no error of their own."""
        return [task for task in self.tasks if self.errors[task].isna().all()]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """What is known of each row beyond its scores: the first line of each, by key."""
        return self.frame.drop_duplicates(KEY).set_index(KEY).reindex(self.scores.index)

    def tasks_of(self, type_: str) -> list[str]:
        """The ranked tasks of a type."""
        return [task for task in self.ranked if self.types[task] == type_]

    def mean(self, tasks: Sequence[str]) -> pd.Series:
        """Each row's average over tasks; withheld where one is missing."""
        return self.scores[list(tasks)].mean(axis=1, skipna=False)

    @cached_property
    def evidence(self) -> dict[str, Resampled]:
        """Scores on resampled examples, x 100, of the tasks whose examples at least two kept."""
        done = self.frame[(self.frame["status"] == "done") & self.frame["statistic"].notna()]
        found = {}
        for task, group in done.groupby("task"):
            statistics = group["statistic"].unique()
            splits = group["split"].unique()
            examples: dict[Any, pd.DataFrame] = {}
            for key, row in group.drop_duplicates(KEY).set_index(KEY).iterrows():
                kept = load_examples(row["folder"], str(task))
                if kept is not None:
                    kept = kept[kept["split"].isin(splits) & kept["subset"].isin(group["subset"])]
                    kept = kept.rename(columns={"subset": "group"})
                    examples[key] = kept.dropna(axis=1, how="all")
            if len(examples) < 2 or len(statistics) > 1:
                continue
            try:
                drawn = resample(examples, statistic=statistics[0], samples=self.samples)
            except ValueError as error:
                log.warning("%s has no intervals: %s", task, error)
                continue
            found[str(task)] = Resampled(drawn.estimate * 100, drawn.draws * 100)
        return found

    def resampled(self, tasks: Sequence[str]) -> Resampled | None:
        """The average over tasks on resampled examples; None if one task has no examples."""
        if not tasks or any(task not in self.evidence for task in tasks):
            return None
        return average([self.evidence[task] for task in tasks])

    def differences(self, tasks: Sequence[str], base: Any) -> dict[Any, Difference]:
        """Each row's average over tasks minus that of a row, where examples tell."""
        drawn = self.resampled(tasks)
        if drawn is None or base not in drawn.estimate:
            return {}
        return {key: drawn.difference(key, base) for key in drawn.estimate.index if key != base}

    def level_with_best(self, tasks: Sequence[str]) -> list[Any] | None:
        """The rows not significantly below the best one (Holm, 0.05); None where nobody knows."""
        best = self.mean(tasks).idxmax() if self.mean(tasks).notna().any() else None
        found = self.differences(tasks, best)
        if not found:
            return None
        adjusted = holm({key: difference.p_value for key, difference in found.items()})
        return [key for key, p in adjusted.items() if p >= 0.05 or not found[key].estimate < 0]

    def default_of(self, key: Any) -> Any:
        """The row that is a row's method with nothing changed, on the same model; None if none."""
        own = self.rows.loc[[key]].iloc[0]
        rows = self.rows
        same = rows[
            rows["default"].eq(True)
            & rows["method"].eq(own["method"])
            & rows["model"].eq(own["model"])
            & rows["dtype"].eq(own["dtype"])
            & rows["adapters"].eq(own["adapters"])
        ]
        return same.index[0] if len(same) else None

    def caption(self, about: str) -> str:
        """What was shown, and what a reader must know of it."""
        ours = self.frame[self.frame["source"] == "run"]

        def told(column: str) -> str:
            return ", ".join(sorted(str(v) for v in ours[column].dropna().unique()))

        text = f"{about} Models: {told('model')}; {told('dtype')}; commit {told('commit')}."
        if self.common is not None:
            text += (
                f" Over the {len(self.common)} tasks that all rows have: {', '.join(self.common)}."
            )
        missing = self.frame[self.frame["status"] != "done"].drop_duplicates([*KEY, "task"])
        cells = [f"{r.label} on {r.task} ({r.status})" for r in missing.itertuples()]
        holes = self.scores[self.rows["source"] == "run"].isna().stack()
        known = set(zip(*(self.frame[name] for name in (*KEY, "task")), strict=True))
        cells += [
            f"{key[0]} on {key[2]} (not run)" for key in holes[holes].index if key not in known
        ]
        if cells:
            text += f" A dash is a score that is not there: {'; '.join(sorted(cells)[:6])}"
            text += f" and {len(cells) - 6} more." if len(cells) > 6 else "."
        if made := command(ours):
            text += f" Made by: {made}"
        return text

    def _pivot(self, column: str) -> pd.DataFrame:
        values = self.frame.assign(value=pd.to_numeric(self.frame[column]) * 100)
        cells = values.groupby([*KEY, "task"])["value"]
        found = cells.mean()
        if column == "score":  # a hole in a part is a hole in the whole
            found = found.mask(cells.count() < cells.size())
        found = found.unstack("task")
        return found[self._order([str(task) for task in found.columns])]

    def _order(self, tasks: list[str]) -> list[str]:
        seven = [task for task in SEVEN_STS if task in tasks]
        names = [*seven, *(task for task in tasks if task not in seven)]
        return [
            task for type_ in ordered(self.types) for task in names if self.types[task] == type_
        ]


def compare(frame: pd.DataFrame, *, samples: int = SAMPLES, common: bool = False) -> Comparison:
    """Rows named and brought to one split. common: keep only the tasks that every row has."""
    tested = frame[frame["split"] == "test"]["task"].unique()
    kept = ~frame["task"].isin(tested) | frame["split"].isin(["test"]) | frame["split"].isna()
    named = labels(frame[kept])
    if not common:
        return Comparison(named, samples)
    scores = Comparison(named).scores
    tasks = [task for task in _names(scores) if scores[task].notna().all()]
    if not tasks:
        raise ValueError("no task has a score in every row; leave out --common, or some rows")
    return Comparison(named[named["task"].isin(tasks)], samples, common=tasks)


def labels(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns `label` (the method) and `setting` (all that tells its rows apart) for every row."""
    cells = frame.drop_duplicates(["folder", "model"]).copy()
    short = cells["model"].str.split("/").str[-1]
    parts = {"options": cells["options"].fillna("")}
    within = cells.groupby(["model", "method"], dropna=False)
    for column in AXES:
        values = cells[column].map(_said)
        values = "layer " + values if column == "layer" else values
        parts[column] = values.where(within[column].transform("nunique") > 1, "")
    ours = short[cells["source"] == "run"]
    common = ours.mode().iat[0] if len(ours) else ""
    parts["model"] = short.where((short != common) & (cells["source"] == "run"), "")
    parts["adapters"] = cells["adapters"].fillna("")
    parts["source"] = cells["source"].where(cells["source"] != "run", "")
    joined = pd.DataFrame(parts).apply(lambda row: ", ".join(filter(None, row)), axis=1)
    twice = pd.DataFrame({"label": cells["method"], "setting": joined}).duplicated(keep=False)
    joined = joined.where(~twice, joined + ", in " + cells["runs"])  # never merged silently
    cells["label"] = cells["method"]
    cells["setting"] = joined.str.removeprefix(", ").map(lambda text: text and f"({text})")
    return frame.merge(cells[["folder", "model", *KEY]], on=["folder", "model"], how="left")


def _names(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame]


def _said(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def command(frame: pd.DataFrame) -> str:
    """One command that makes all rows again; of several sweeps, the first and how many more."""
    given: dict[str, dict[str, None]] = {}
    commands = [shlex.split(text) for text in frame["command"].dropna().unique()]
    for words in commands:
        for word in words[2:]:
            key, _, value = word.partition("=")
            given.setdefault(key, {})[value] = None
    if not commands:
        return ""
    varied = any(len(values) > 1 for values in given.values())
    said = " ".join(f"{key}={','.join(values)}" for key, values in given.items())
    return f"dec2vec evaluate {'-m ' if varied else ''}{said}"


def ordered(types: Mapping[str, str]) -> list[str]:
    """The types there are, in the order papers have them."""
    present = list(dict.fromkeys(types.values()))
    return sorted(present, key=lambda t: TYPES.index(t) if t in TYPES else len(TYPES))


def short(task: str) -> str:
    """A task's name without its type."""
    for ending in ("PairClassification", "Classification", "Clustering", "Retrieval"):
        if task.endswith(ending) and task != ending:
            return task.removesuffix(ending)
    return task
