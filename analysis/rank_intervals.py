"""Say how sure the order of rows is, by ranks on resampled tasks and examples.

A rank here is the place of a row's average over tasks, 1 for the highest; equal ones share the mean
of their places. Its interval holds both sources of chance: which tasks were chosen (drawn with
replacement, as a benchmark is a sample of tasks) and which examples each task has (the paired
bootstrap of statistics.py).

M rows, T tasks, S draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics import Resampled


@dataclass(frozen=True)
class RankIntervals:
    """Rows, the highest average first.

    rank, low, high: of the average, with its 95 % interval. above: M x M, the share of draws in
        which a row is above another, ties half. without_one: lowest and highest rank when one task
        is left out. mean_rank: over tasks. borda: rows that a row is above, summed over tasks, ties
        half. tested: tasks whose examples were resampled too.
    """

    rows: list[Any]
    rank: pd.Series
    low: pd.Series
    high: pd.Series
    above: pd.DataFrame
    without_one: pd.DataFrame
    mean_rank: pd.Series
    borda: pd.Series
    tested: list[str]

    def is_separable(self, first: Any, second: Any, alpha: float = 0.05) -> bool:
        """Return whether fewer than a share of `alpha` / 2 of the draws reverse two rows."""
        places = self.rows.index(first), self.rows.index(second)
        share = self.above.to_numpy()[places]
        return share < alpha / 2 or share > 1 - alpha / 2

    def group(self) -> dict[Any, str]:
        """Return a letter for each largest run of neighbours of which no two are separable: rows
        that share a letter are not told apart."""
        runs: list[tuple[int, int]] = []
        for start in range(len(self.rows)):
            end = start
            while end + 1 < len(self.rows) and not any(
                self.is_separable(self.rows[place], self.rows[end + 1])
                for place in range(start, end + 1)
            ):
                end += 1
            if not runs or end > runs[-1][1]:
                runs.append((start, end))
        found = dict.fromkeys(self.rows, "")
        for number, (start, end) in enumerate(runs):
            for row in self.rows[start : end + 1]:
                found[row] += chr(ord("a") + number) if number < 26 else f"({number})"
        return found


def rank_rows(
    scores: pd.DataFrame, evidence: Mapping[str, Resampled], *, samples: int, seed: int = 0
) -> RankIntervals:
    """Rank rows by their average over tasks, on resampled tasks and examples.

    scores: rows x tasks, none missing. evidence: by task, scores of these rows on resampled
        examples; a task without keeps its scores. Raises ValueError for fewer than two rows or
        tasks, and for a missing score.
    """
    if min(scores.shape) < 2 or scores.isna().to_numpy().any():
        raise ValueError(
            f"ranks need two rows and two tasks or more, with every score; got {scores.shape[0]} "
            f"rows, {scores.shape[1]} tasks, {int(scores.isna().sum().sum())} missing"
        )
    order = scores.mean(axis=1).sort_values(ascending=False, kind="stable").index
    scores = scores.loc[order]
    tested = [t for t in map(str, scores) if _covers(evidence.get(t), order)]
    drawn_SMT = np.repeat(scores.to_numpy(float)[None], samples, axis=0)
    for place, task in enumerate(map(str, scores)):
        if task in tested:
            draws = evidence[task].draws[list(order)].to_numpy()
            drawn_SMT[:, :, place] = draws[np.arange(samples) % len(draws)]
    picked_ST = np.random.default_rng(seed).integers(0, scores.shape[1], (samples, scores.shape[1]))
    means_SM = np.take_along_axis(drawn_SMT, picked_ST[:, None, :], axis=2).mean(axis=2)
    ranks_SM = _rank(means_SM)
    above = np.stack([_compare(means_SM, place) for place in range(len(order))])
    places = _rank(scores.to_numpy(float).T)  # tasks x rows
    left_out = np.stack([_rank(scores.drop(columns=task).mean(axis=1)) for task in scores])
    low, high = np.quantile(ranks_SM, [0.025, 0.975], axis=0)
    return RankIntervals(
        rows=list(order),
        rank=pd.Series(_rank(scores.mean(axis=1)), order),
        low=pd.Series(low, order),
        high=pd.Series(high, order),
        above=pd.DataFrame(above, order, order),
        without_one=pd.DataFrame({"low": left_out.min(0), "high": left_out.max(0)}, order),
        mean_rank=pd.Series(places.mean(0), order),
        borda=pd.Series((len(order) - places).sum(0), order),
        tested=list(map(str, tested)),
    )


def find_detectable_effect(drawn: Resampled, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the difference between two rows that a two-sided test at `alpha` finds with `power`,
    in score units: of the median pair of rows, by the standard error of their difference."""
    from scipy.stats import norm

    errors = [
        (drawn.draws[first] - drawn.draws[second]).std(ddof=1)
        for place, first in enumerate(drawn.draws)
        for second in list(drawn.draws)[:place]
    ]
    return float(np.median(errors) * (norm.ppf(1 - alpha / 2) + norm.ppf(power)))


def _covers(drawn: Resampled | None, rows: pd.Index) -> bool:
    """Return whether all rows have examples of a task."""
    return drawn is not None and set(rows) <= set(drawn.estimate.index)


def _rank(scores: Any) -> np.ndarray:
    """Return places along the last axis, 1 for the highest."""
    from scipy.stats import rankdata

    return rankdata(-np.asarray(scores, float), axis=-1)


def _compare(means_SM: np.ndarray, place: int) -> np.ndarray:
    """Return the share of draws in which a row is above each, ties half."""
    own_S1 = means_SM[:, [place]]
    return ((own_S1 > means_SM) + 0.5 * (own_S1 == means_SM)).mean(axis=0)
