"""Is a difference more than chance? Over the examples of a task, and over tasks.

Over examples: a paired bootstrap. Two methods are scored on the same resampled examples, so that
what is hard for both cancels out, and the interval is of the difference. Over tasks: Wilcoxon's
signed-rank test for two methods (as arXiv 2409.02727 uses it), Friedman's with Nemenyi's critical
difference for many (Demsar, JMLR 7, 2006). Holm's procedure corrects the p-values of one family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

Statistic = Literal["mean", "pearson", "spearman"]
CHUNK = 100  # resamples at a time: bounds memory at CHUNK x examples


@dataclass(frozen=True)
class Difference:
    """First minus second, with a bootstrap interval and a two-sided p-value. In score units."""

    estimate: float
    low: float
    high: float
    p_value: float
    examples: int

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    statistic: Statistic,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Resample the examples both methods were scored on.

    first, second: one row an example, in the same order, with `value` for a mean (accuracy of a
        text, nDCG of a query) or `value` and `gold` for a correlation over pairs; and `group`
        (subset) where a task's score is the mean over groups. Examples are drawn within groups.
    Raises ValueError if the two are not the same examples or there are fewer than two.
    """
    if statistic not in get_args(Statistic):
        valid = ", ".join(get_args(Statistic))
        raise ValueError(f"statistic {statistic!r} is unknown; valid: {valid}")
    shared = [c for c in ("group", "gold") if c in first or c in second]
    same = len(first) == len(second) and all(
        c in first and c in second and (first[c].to_numpy() == second[c].to_numpy()).all()
        for c in shared
    )
    if not same or len(first) < 2:
        raise ValueError(
            f"a paired bootstrap needs the same examples in the same order, at least two; got "
            f"{len(first)} and {len(second)}, which differ in length or in {shared}"
        )
    groups = first["group"].to_numpy() if "group" in first else np.zeros(len(first))
    members = [np.flatnonzero(groups == group) for group in pd.unique(groups)]
    gold = first["gold"].to_numpy(float) if "gold" in first else None
    values = [frame["value"].to_numpy(float) for frame in (first, second)]
    whole = [np.arange(len(rows))[None] for rows in members]
    estimate = _difference(values, gold, members, whole, statistic)[0]
    draw = np.random.default_rng(seed)
    found = []
    for start in range(0, samples, CHUNK):
        size = min(CHUNK, samples - start)
        picks = [draw.integers(0, len(rows), (size, len(rows))) for rows in members]
        found.append(_difference(values, gold, members, picks, statistic))
    differences = np.concatenate(found)
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    beyond = min((differences <= 0).sum(), (differences >= 0).sum())
    p_value = min(1.0, 2 * (int(beyond) + 1) / (samples + 1))
    return Difference(float(estimate), float(low), float(high), p_value, len(first))


def wilcoxon(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test over paired scores, one a task.

    Equal pairs are split between the signs (Pratt). 1.0 where all pairs are equal.
    """
    from scipy import stats

    differences = np.asarray(first, float) - np.asarray(second, float)
    if len(differences) == 0 or np.isnan(differences).any():
        raise ValueError(
            "Wilcoxon's test needs a score of both methods on every task; leave out tasks of which "
            "one is missing"
        )
    if not differences.any():
        return 1.0
    result: Any = stats.wilcoxon(differences, zero_method="pratt")
    return float(result.pvalue)


@dataclass(frozen=True)
class Ranking:
    """Average ranks of methods over tasks (1 is best), Friedman's p-value, and how far two average
    ranks must be apart to differ at `alpha` (Nemenyi)."""

    ranks: pd.Series
    p_value: float
    critical_difference: float
    alpha: float
    tasks: int

    def pairs(self) -> pd.DataFrame:
        """Methods x methods: whether their ranks differ by more than the critical difference."""
        gaps = np.abs(self.ranks.to_numpy()[:, None] - self.ranks.to_numpy())
        names = self.ranks.index
        return pd.DataFrame(gaps > self.critical_difference, index=names, columns=names)


def friedman(scores: pd.DataFrame, *, alpha: float = 0.05) -> Ranking:
    """Rank methods (columns) within every task (rows; higher is better) and test the ranks.

    Raises ValueError for fewer than three methods, fewer than two tasks or a missing score.
    """
    from scipy import stats

    tasks, methods = scores.shape
    if methods < 3 or tasks < 2 or scores.isna().to_numpy().any():
        raise ValueError(
            f"Friedman's test needs at least 3 methods scored on the same tasks, at least 2; got "
            f"{methods} methods, {tasks} tasks, {int(scores.isna().sum().sum())} missing scores"
        )
    ranks = scores.rank(axis=1, ascending=False).mean().sort_values()
    p_value = float(stats.friedmanchisquare(*(scores[name] for name in scores)).pvalue)
    studentized = stats.studentized_range.ppf(1 - alpha, methods, np.inf)
    critical = float(studentized / np.sqrt(2) * np.sqrt(methods * (methods + 1) / (6 * tasks)))
    return Ranking(ranks, p_value, critical, alpha, tasks)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values of one family of tests, adjusted by Holm's step-down procedure."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def _difference(
    values: Sequence[np.ndarray],
    gold: np.ndarray | None,
    members: Sequence[np.ndarray],
    picks: Sequence[np.ndarray],
    statistic: Statistic,
) -> np.ndarray:
    """First minus second for every resample: the mean over groups of the statistic in each."""
    total = np.zeros(len(picks[0]))
    for rows, chosen in zip(members, picks, strict=True):
        at = rows[chosen]
        if statistic == "mean":
            total += values[0][at].mean(axis=1) - values[1][at].mean(axis=1)
        else:
            if gold is None:
                raise ValueError(f"{statistic} needs a column `gold`")
            truth = _standard(gold[at], statistic)
            one, other = (_standard(v[at], statistic) for v in values)
            total += (one * truth).sum(axis=1) - (other * truth).sum(axis=1)
    return total / len(members)


def _standard(values: np.ndarray, statistic: Statistic) -> np.ndarray:
    """Rows (their ranks, for Spearman) centred and of unit length, so that products correlate."""
    if statistic == "spearman":
        from scipy.stats import rankdata

        values = rankdata(values, axis=1)
    values = values - values.mean(axis=1, keepdims=True)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-300)
