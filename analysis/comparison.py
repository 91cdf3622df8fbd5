"""A tidy frame -> what tables and figures are drawn from: named rows, scores, and evidence.

Scores are main scores x 100. What is missing is NaN, and so is an average over tasks of which one
is missing: averages over different tasks do not compare.
"""

from __future__ import annotations

import logging
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from analysis.names import AXES, KEY, as_text, command, labels, ordered, short, unique_values
from analysis.results import load_examples
from analysis.splits import lines_of_other_splits, shown_splits
from analysis.statistics import (
    SAMPLES,
    Difference,
    Ranking,
    Resampled,
    average,
    friedman,
    holm,
    resample,
)

log = logging.getLogger(__name__)

# As papers print the seven; other tasks follow by name.
SEVEN_STS = ["STS12", "STS13", "STS14", "STS15", "STS16", "STSBenchmark", "SICK-R"]


@dataclass(frozen=True)
class Comparison:
    """Rows to compare. A row is known by its key: its label (the method) and its setting.

    frame: the tidy rows with `label` and `setting`, of the splits that are shown (shown_splits).
    common: the tasks all rows have, if it was asked to keep to those. splits: which splits are
    shown, of the tasks that were scored on several.
    """

    frame: pd.DataFrame
    samples: int = SAMPLES
    common: Sequence[str] | None = None
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Rows x tasks, by type. A task of which a row lacks a split or subset that another row
        has, or has one without a score, has no score in that row."""
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
        return [str(task) for task in self.scores]

    @cached_property
    def ranked(self) -> list[str]:
        """The tasks that averages are over: those that state no error of their own."""
        return [task for task in self.tasks if self.errors[task].isna().all()]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """What is known of each row beyond its scores: the first line of each, by key."""
        return self.frame.drop_duplicates(KEY).set_index(KEY).reindex(self.scores.index)

    @cached_property
    def names(self) -> dict[Any, str]:
        """Rows as they are printed, by key."""
        return {key: " ".join(filter(None, key)) for key in self.scores.index}

    @cached_property
    def short(self) -> dict[str, str]:
        """Tasks as they are printed: without their type, where that tells them apart."""
        cut = {task: short(task) for task in self.tasks}
        often = Counter(cut.values())
        return {task: name if often[name] == 1 else task for task, name in cut.items()}

    @cached_property
    def complete(self) -> pd.DataFrame:
        """Scores of the rows that have all ranked tasks."""
        return self.scores[self.ranked].dropna()

    @cached_property
    def ranking(self) -> Ranking | None:
        """Ranks over tasks of the complete rows; None for fewer than three, or two tasks."""
        if len(self.complete) < 3 or len(self.ranked) < 2:
            return None
        return friedman(self.complete.T)

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
            examples = examples_of(str(task), group)
            statistics = group["statistic"].unique()
            number = len(next(iter(examples.values()), ()))
            if len(examples) < 2 or len(statistics) > 1 or number < 2:
                continue
            # A seed of its own: tasks of one size would draw the same places, and err together.
            drawn = resample(
                examples,
                statistic=statistics[0],
                samples=self.samples,
                seed=zlib.crc32(str(task).encode()),
            )
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
        """The rows not significantly below the best of those that kept examples (Holm, 0.05);
        None where fewer than two did."""
        drawn = self.resampled(tasks)
        if drawn is None or len(drawn.estimate) < 2:
            return None
        found = self.differences(tasks, drawn.estimate.idxmax())
        adjusted = holm({key: difference.p_value for key, difference in found.items()})
        return [key for key, p in adjusted.items() if p >= 0.05]

    def default_of(self, key: Any) -> Any:
        """The row that is a row's method with nothing changed, on the same model; None if none."""
        own: Any = self.rows.loc[[key]].iloc[0]
        rows = self.rows[self.rows["default"].eq(True)]
        for column in ("method", "model", "revision", "dtype", "adapters"):
            rows = rows[rows[column].map(as_text).eq(as_text(own[column]))]
        for column in ("instructions", "runs"):  # the nearest, where there are several
            same = rows[rows[column].map(as_text).eq(as_text(own[column]))]
            rows = same if len(same) else rows
        return rows.index[0] if len(rows) else None

    def untrained(self, key: Any) -> Any:
        """The row of the same method and model without adapters, nearest in what else was changed;
        None if there is none."""
        own: Any = self.rows.loc[[key]].iloc[0]
        rows = self.rows[self.rows["adapters"].fillna("").eq("")]
        for column in ("method", "model", "revision", "dtype"):
            rows = rows[rows[column].map(as_text).eq(as_text(own[column]))]
        for column in ("options", *AXES, "runs"):
            same = rows[rows[column].map(as_text).eq(as_text(own[column]))]
            rows = same if len(same) else rows
        return rows.index[0] if len(rows) else None

    def caption(self, about: str, tasks: Sequence[str] | None = None) -> str:
        """What was shown, of which tasks (all), and what a reader must know of it."""
        ours = self.frame[self.frame["source"] == "run"]
        text = about
        if len(ours):
            text += f" Models: {unique_values(ours, 'model')}; {unique_values(ours, 'dtype')}; "
            text += f"commit {unique_values(ours, 'commit')}."
        if self.common is not None:
            text += f" Over the {len(self.common)} tasks that all rows have: "
            text += f"{', '.join(self.common)}."
        if splits := self._named_splits():
            text += f" Of what was scored on several splits, shown is: {splits}."
        if cells := self._holes(self.tasks if tasks is None else tasks):
            text += f" A dash is a score that is not there: {'; '.join(cells[:6])}"
            text += f" and {len(cells) - 6} more." if len(cells) > 6 else "."
        if made := command(ours):
            text += f" Made by: {made}"
        return text

    def _named_splits(self) -> str:
        ours = self.frame[self.frame["source"] == "run"]
        old = len(ours) and ours["schema"].eq(0).all()  # whose captions say so only of other splits
        by_split: dict[str, list[str]] = {}
        for task, splits in self.splits.items():
            if old and splits == ["test"]:
                continue
            text = splits[0] if len(splits) == 1 else f"the mean of {' and '.join(splits)}"
            by_split.setdefault(text, []).append(self.short.get(task, task))
        return "; ".join(f"{text} ({', '.join(tasks)})" for text, tasks in by_split.items())

    @cached_property
    def _explained(self) -> pd.DataFrame:
        """The lines whose missing scores a caption explains: ours, or where there are none all."""
        ours = self.frame[self.frame["source"] == "run"]
        return ours if len(ours) else self.frame

    def _holes(self, tasks: Sequence[str]) -> list[str]:
        """The scores that are not there, and why."""
        keys = pd.MultiIndex.from_frame(self._explained[KEY])
        rows = self.scores[self.scores.index.isin(keys)]
        lost = [(*key, task) for task in tasks for key in rows.index[rows[task].isna()]]
        known = self._states
        return sorted(f"{k[0]} on {k[2]} ({known.get(k, 'not run')})" for k in lost)

    @cached_property
    def _states(self) -> dict[Any, str]:
        """Why a score is not whole, by row and task: the first reason of several."""
        frame = self._explained
        state = frame["status"].where(frame["status"] != "done", "in part")
        state = state.mask(state.eq("in part") & frame["score"].isna(), "undefined")
        least = frame.assign(state=state, least=state.eq("in part")).sort_values(
            "least", kind="stable"
        )
        return least.drop_duplicates([*KEY, "task"]).set_index([*KEY, "task"])["state"].to_dict()

    def _pivot(self, column: str) -> pd.DataFrame:
        values = self.frame.assign(value=pd.to_numeric(self.frame[column]) * 100)
        cells = values.groupby([*KEY, "task"])
        found = cells["value"].mean()
        if column == "score":
            done = values.dropna(subset=["split"]).assign(
                part=values["split"].astype(str) + "/" + values["subset"].astype(str)
            )
            ours = done[done["source"] == "run"]  # where there are none, all rows stand alike
            parts = (ours if len(ours) else done).groupby("task")["part"].nunique()
            wanted = parts.reindex(found.index.get_level_values("task")).to_numpy()
            found = found.mask((cells["value"].count() < wanted) | (cells["value"].count() == 0))
        found = found.unstack("task")
        return found[self._order([str(task) for task in found.columns])]

    def _order(self, tasks: list[str]) -> list[str]:
        seven = [task for task in SEVEN_STS if task in tasks]
        names = [*seven, *(task for task in tasks if task not in seven)]
        return [
            task for type_ in ordered(self.types) for task in names if self.types[task] == type_
        ]


def compare(frame: pd.DataFrame, *, samples: int = SAMPLES, common: bool = False) -> Comparison:
    """Rows named and brought to the same splits. common: keep only the tasks every row has."""
    shown = shown_splits(frame)
    scored = frame.dropna(subset=["split"]).groupby("task")["split"].unique()
    several = {str(task): shown[str(task)] for task, own in scored.items() if len(own) > 1}
    kept = [pd.isna(s) or s in shown[t] for t, s in zip(frame["task"], frame["split"], strict=True)]
    frame = pd.concat([frame[kept], lines_of_other_splits(frame, kept)]) if not all(kept) else frame
    ours = frame[frame["source"] == "run"]
    if len(ours):  # of other people's scores, what ours are of
        parts = ["task", "split", "subset"]
        known = pd.MultiIndex.from_frame(ours[parts].drop_duplicates())
        same = pd.MultiIndex.from_frame(frame[parts]).isin(known)
        frame = frame[same | frame["source"].eq("run")]
    named = labels(frame)
    if not common:
        return Comparison(named, samples, splits=several)
    whole = Comparison(named)
    tasks = [task for task in whole.tasks if whole.scores[task].notna().all()]
    if not tasks:
        raise ValueError("no task has a score in every row; leave out --common, or some rows")
    several = {task: splits for task, splits in several.items() if task in tasks}
    named = named[named["task"].isin(tasks)]
    return Comparison(named, samples, common=tasks, splits=several)


def examples_of(task: str, group: pd.DataFrame) -> dict[Any, pd.DataFrame]:
    """The examples of a task's shown split by row key, in one order; rows of other examples are
    left out. group: the task's rows of a named frame."""
    found: dict[Any, pd.DataFrame] = {}
    for key, row in group.drop_duplicates(KEY).set_index(KEY).iterrows():
        kept = load_examples(row["folder"], task)
        if kept is not None:
            parts = group[["split", "subset"]].drop_duplicates()
            kept = kept.merge(parts, on=["split", "subset"]).rename(columns={"subset": "group"})
            found[key] = kept.sort_values(["group", "split", "example"], ignore_index=True)
    columns = ["group", "example", "gold"]
    print_of = {
        key: pd.util.hash_pandas_object(kept.reindex(columns=columns), index=False).sum()
        for key, kept in found.items()
    }
    most = Counter(print_of.values()).most_common(1)
    odd = [
        key
        for key, own in print_of.items()
        if own != most[0][0] or found[key]["value"].isna().any()
    ]
    if odd:
        names = ", ".join(" ".join(filter(None, map(str, key))) for key in odd)
        log.warning(
            "%s: no intervals for %s, whose examples are others, or no numbers", task, names
        )
    return {key: kept for key, kept in found.items() if key not in odd}
