"""Turn a tidy frame into what views show: named rows, their scores, resampled examples.

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

from analysis.labels import KEY, label_rows, name_row, order_tasks, shorten
from analysis.naming import Naming
from analysis.records.results import load_examples
from analysis.records.splits import blank_other_splits, choose_splits
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


@dataclass(frozen=True)
class Comparison:
    """Rows to compare. A row is known by its key: its label (the method) and its setting.

    frame: the tidy frame with `label` and `setting`, of the splits that are shown (choose_splits).
    samples: of the bootstrap. common: the tasks that all rows have, where only those are compared.
    splits: which splits are shown, of the tasks that were scored on several. places: of the rows
    that the reader ordered. brief: captions leave out models, commit and command.
    """

    frame: pd.DataFrame
    samples: int = SAMPLES
    common: Sequence[str] | None = None
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    places: Mapping[Any, int] = field(default_factory=dict)
    brief: bool = False

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Rows x tasks, by type. A row has no score of a task where it lacks a split or subset
        that another row has."""
        return self._pivot("score")

    @cached_property
    def errors(self) -> pd.DataFrame:
        """Rows x tasks: the standard errors that tasks state themselves."""
        return self._pivot("score_error")

    @cached_property
    def types(self) -> dict[str, str]:
        """The type of each task."""
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
        """The columns of each row beyond its scores, by key: of its first line in the frame."""
        return self.frame.drop_duplicates(KEY).set_index(KEY).reindex(self.scores.index)

    @cached_property
    def names(self) -> dict[Any, str]:
        """Rows as they are printed, by key."""
        return {key: name_row(key) for key in self.scores.index}

    @cached_property
    def short(self) -> dict[str, str]:
        """Tasks as they are printed: without their type, where no other is then named alike."""
        cut = {task: shorten(task) for task in self.tasks}
        often = Counter(cut.values())
        return {task: name if often[name] == 1 else task for task, name in cut.items()}

    @cached_property
    def complete(self) -> pd.DataFrame:
        """Scores of the rows that have all ranked tasks."""
        return self.scores[self.ranked].dropna()

    @cached_property
    def ranking(self) -> Ranking | None:
        """Ranks over tasks of the complete rows; None for fewer than three rows or two tasks."""
        if len(self.complete) < 3 or len(self.ranked) < 2:
            return None
        return friedman(self.complete.T)

    def list_ranked_tasks(self, type_: str) -> list[str]:
        """Return the ranked tasks of a type."""
        return [task for task in self.ranked if self.types[task] == type_]

    def mean(self, tasks: Sequence[str]) -> pd.Series:
        """Return each row's average over tasks; NaN where one is missing."""
        return self.scores[list(tasks)].mean(axis=1, skipna=False)

    @cached_property
    def evidence(self) -> dict[str, Resampled]:
        """Scores x 100 on resampled examples, of tasks of which at least two rows have examples."""
        done = self.frame[(self.frame["status"] == "done") & self.frame["statistic"].notna()]
        found = {}
        for task, group in done.groupby("task"):
            examples = load_paired_examples(str(task), group)
            statistics = group["statistic"].unique()
            number = len(next(iter(examples.values()), ()))
            if len(examples) < 2 or len(statistics) > 1 or number < 2:
                continue
            # One seed a task: else tasks of one size would draw the same examples and err together.
            drawn = resample(
                examples,
                statistic=statistics[0],
                samples=self.samples,
                seed=zlib.crc32(str(task).encode()),
            )
            found[str(task)] = Resampled(drawn.estimate * 100, drawn.draws * 100)
        return found

    def resample(self, tasks: Sequence[str]) -> Resampled | None:
        """Return the average over tasks on resampled examples; None if a task has no examples."""
        if not tasks or any(task not in self.evidence for task in tasks):
            return None
        return average([self.evidence[task] for task in tasks])

    def subtract(self, base: Any, tasks: Sequence[str]) -> dict[Any, Difference]:
        """Return each row's average over tasks minus a base row's, where both have examples."""
        drawn = self.resample(tasks)
        if drawn is None or base not in drawn.estimate:
            return {}
        return {key: drawn.subtract(key, base) for key in drawn.estimate.index if key != base}

    def find_level_with_best(self, tasks: Sequence[str]) -> list[Any] | None:
        """Return the rows not significantly below the best of those with examples (Holm, 0.05);
        None where fewer than two have examples."""
        drawn = self.resample(tasks)
        if drawn is None or len(drawn.estimate) < 2:
            return None
        differences = self.subtract(drawn.estimate.idxmax(), tasks)
        adjusted = holm({key: difference.p_value for key, difference in differences.items()})
        return [key for key, p in adjusted.items() if p >= 0.05]

    def _pivot(self, column: str) -> pd.DataFrame:
        values = self.frame.assign(value=pd.to_numeric(self.frame[column]) * 100)
        cells = values.groupby([*KEY, "task"])
        found = cells["value"].mean()
        if column == "score":
            done = values.dropna(subset=["split"]).assign(
                part=values["split"].astype(str) + "/" + values["subset"].astype(str)
            )
            ours = done[done["source"] == "run"]  # where there are none, all rows count alike
            parts = (ours if len(ours) else done).groupby("task")["part"].nunique()
            wanted = parts.reindex(found.index.get_level_values("task")).to_numpy()
            found = found.mask((cells["value"].count() < wanted) | (cells["value"].count() == 0))
        found = found.unstack("task")
        if self.places:
            last = len(self.places)
            found = found.loc[sorted(found.index, key=lambda key: self.places.get(key, last))]
        return found[order_tasks([str(task) for task in found.columns], self.types)]


def compare(
    frame: pd.DataFrame,
    *,
    samples: int = SAMPLES,
    common: bool = False,
    naming: Naming | None = None,
    brief: bool = False,
) -> Comparison:
    """Name the rows of a tidy frame and bring them to the same splits.

    samples: of the bootstrap. common: use only the tasks that every row has. brief: for captions.
    Raises ValueError if there is no such task, and for a naming that gives two rows one name.
    """
    frame, splits = _keep_shown_splits(frame)
    named, places = (naming or Naming()).apply(label_rows(_keep_shared_parts(frame)))
    how: dict[str, Any] = {"samples": samples, "places": places, "brief": brief}
    if not common:
        return Comparison(named, splits=splits, **how)
    whole = Comparison(named)
    tasks = [task for task in whole.tasks if whole.scores[task].notna().all()]
    if not tasks:
        raise ValueError("no task has a score in every row; leave out --common, or some rows")
    splits = {task: shown for task, shown in splits.items() if task in tasks}
    named = named[named["task"].isin(tasks)]
    return Comparison(named, common=tasks, splits=splits, **how)


def _keep_shown_splits(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Return the rows of the splits that are shown, and these splits where a task has several."""
    chosen = choose_splits(frame)
    scored = frame.dropna(subset=["split"]).groupby("task")["split"].unique()
    several = {str(task): chosen[str(task)] for task, own in scored.items() if len(own) > 1}
    places = zip(frame["task"], frame["split"], strict=True)
    shown = [pd.isna(split) or split in chosen[task] for task, split in places]
    if all(shown):
        return frame, several
    return pd.concat([frame[shown], blank_other_splits(frame, shown)]), several


def _keep_shared_parts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return our rows and, of other people's, those of a split and subset that ours have too."""
    ours = frame[frame["source"] == "run"]
    if not len(ours):
        return frame
    parts = ["task", "split", "subset"]
    known = pd.MultiIndex.from_frame(ours[parts].drop_duplicates())
    shared = pd.MultiIndex.from_frame(frame[parts]).isin(known)
    return frame[shared | frame["source"].eq("run")]


def load_paired_examples(task: str, group: pd.DataFrame) -> dict[Any, pd.DataFrame]:
    """Return the examples of a task's shown splits by row key, in one order.

    group: the task's rows of a named frame. Rows that most others do not share the examples of, or
    whose values are no numbers, are left out, with a warning.
    """
    found: dict[Any, pd.DataFrame] = {}
    parts = group[["split", "subset"]].drop_duplicates()
    for key, row in group.drop_duplicates(KEY).set_index(KEY).iterrows():
        examples = load_examples(row["folder"], task)
        if examples is not None:
            examples = examples.merge(parts, on=["split", "subset"])
            examples = examples.rename(columns={"subset": "group"})
            found[key] = examples.sort_values(["group", "split", "example"], ignore_index=True)
    digests = {
        key: pd.util.hash_pandas_object(
            examples.reindex(columns=["group", "example", "gold"]), index=False
        ).sum()
        for key, examples in found.items()
    }
    most = Counter(digests.values()).most_common(1)
    odd = [
        key for key, own in digests.items() if own != most[0][0] or found[key]["value"].isna().any()
    ]
    if odd:
        log.warning(
            "%s: no intervals for %s: their examples are others than most rows', or no numbers",
            task,
            ", ".join(map(name_row, odd)),
        )
    return {key: examples for key, examples in found.items() if key not in odd}
