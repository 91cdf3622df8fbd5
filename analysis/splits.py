"""Which splits a task's one score is of: one rule, for tables as for the log of a run."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.records import GEOMETRY


def shown_splits(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Which splits a task's one score is the mean over, as `dec2vec evaluate` logs it.

    Those of the benchmark where all our rows of the task were run for one; else the test split,
    and where there is none all that it was scored on.
    """
    shown = {}
    for task, group in frame.dropna(subset=["split"]).groupby("task"):
        splits = [str(split) for split in dict.fromkeys(group["split"])]
        ours = group[group["source"] == "run"]["benchmark"]
        for_one = len(ours) and ours.notna().all() and ours.nunique() == 1
        shown[str(task)] = ["test"] if "test" in splits and not for_one else splits
    return shown


def lines_of_other_splits(frame: pd.DataFrame, kept: Sequence[bool]) -> pd.DataFrame:
    """A line without a score for each row and task that has scores of other splits alone."""
    place = ["folder", "model", "task"]
    there = pd.MultiIndex.from_frame(frame.loc[list(kept), place])
    left = frame[~pd.Series(list(kept), frame.index)]
    left = left[~pd.MultiIndex.from_frame(left[place]).isin(there)]
    if left.empty:
        return left
    splits = left.groupby(place, dropna=False)["split"].agg(
        lambda own: " and ".join(map(str, dict.fromkeys(own)))
    )
    lines = left.drop_duplicates(place)
    told = "scored on " + splits.reindex(pd.MultiIndex.from_frame(lines[place])) + " alone"
    blank = {name: None for name in ("split", "subset", "score", "score_error", *GEOMETRY)}
    return lines.assign(**blank, status=told.to_numpy(), message=told.to_numpy())
