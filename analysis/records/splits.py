"""Choose the splits that a task's one score is the mean over, as the log of a run does."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.records.columns import GEOMETRY


def choose_splits(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return by task which splits its one score is the mean over, as `dec2vec evaluate` logs it.

    Those of the benchmark where all our rows of the task were run for one; else the test split,
    and where there is none all that it was scored on.
    """
    chosen = {}
    for task, group in frame.dropna(subset=["split"]).groupby("task"):
        splits = [str(split) for split in dict.fromkeys(group["split"])]
        ours = group[group["source"] == "run"]["benchmark"]
        for_one = len(ours) and ours.notna().all() and ours.nunique() == 1
        chosen[str(task)] = ["test"] if "test" in splits and not for_one else splits
    return chosen


def blank_other_splits(frame: pd.DataFrame, shown: Sequence[bool]) -> pd.DataFrame:
    """Return a row without a score for each cell and task that was scored on other splits alone.

    shown: of each row of the frame whether its split is shown.
    """
    place = ["folder", "model", "task"]
    there = pd.MultiIndex.from_frame(frame.loc[list(shown), place])
    left = frame[~pd.Series(list(shown), frame.index)]
    left = left[~pd.MultiIndex.from_frame(left[place]).isin(there)]
    if left.empty:
        return left
    splits = left.groupby(place, dropna=False)["split"].agg(
        lambda own: " and ".join(map(str, dict.fromkeys(own)))
    )
    rows = left.drop_duplicates(place)
    reason = "scored on " + splits.reindex(pd.MultiIndex.from_frame(rows[place])) + " alone"
    blank = {name: None for name in ("split", "subset", "score", "score_error", *GEOMETRY)}
    return rows.assign(**blank, status=reason.to_numpy(), message=reason.to_numpy())
