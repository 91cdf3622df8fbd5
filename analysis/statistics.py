"""Test whether a difference is more than chance, over the examples of a task and over tasks.

Over examples: a paired bootstrap. Methods are scored on the same resampled examples, so that what
is hard for all cancels out, and the interval is of the difference. Over tasks: Wilcoxon's
signed-rank test for two methods (as arXiv 2409.02727 uses it), Friedman's with Nemenyi's critical
difference for many (Demsar, JMLR 7, 2006). Holm's procedure corrects the p-values of one family.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

Statistic = Literal["mean", "pearson", "spearman", "average_precision"]
# Given a statistic's N examples: weights [S, N] (how often each is drawn) -> [S]. What does not
# depend on the draw, sorting above all, is done once.
Scorer = Callable[[np.ndarray], np.ndarray]
CHUNK = 100  # resamples at a time: bounds memory at CHUNK x examples
SAMPLES = 1000


@dataclass(frozen=True)
class Difference:
    """One score minus another in score units, with a bootstrap interval and a two-sided p-value."""

    estimate: float
    low: float
    high: float
    p_value: float

    @property
    def margin(self) -> float:
        """Return half the interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Resampled:
    """Scores of several methods on the same examples, and on the same resamples of them.

    estimate: score by method. draws: resamples x methods; row k is of one resample for all.
    """

    estimate: pd.Series
    draws: pd.DataFrame

    def find_interval(self, method: Any, confidence: float = 0.95) -> tuple[float, float]:
        """Return the percentile interval of one score."""
        low, high = np.quantile(self.draws[method], _find_tails(confidence))
        return float(low), float(high)

    def subtract(self, first: Any, second: Any, confidence: float = 0.95) -> Difference:
        """Return one method minus another, with its percentile interval.

        The p-value is of a normal distribution with the bootstrap's standard error: counting
        resamples could not go below 1 in their number, and no correction for many comparisons
        would leave anything significant.
        """
        gaps = (self.draws[first] - self.draws[second]).to_numpy()
        low, high = np.quantile(gaps, _find_tails(confidence))
        estimate, spread = float(self.estimate[first] - self.estimate[second]), gaps.std(ddof=1)
        if spread > 1e-12:
            p_value = math.erfc(abs(estimate) / (spread * math.sqrt(2)))
        else:
            p_value = 1.0 if abs(estimate) < 1e-12 else 0.0
        return Difference(estimate, float(low), float(high), p_value)


def average(tasks: Sequence[Resampled]) -> Resampled:
    """Return the mean over tasks, each resampled by itself, of the methods that all tasks have."""
    methods = [m for m in tasks[0].estimate.index if all(m in t.estimate for t in tasks)]
    estimate = np.mean([task.estimate[methods] for task in tasks], axis=0)
    draws = np.mean([task.draws[methods] for task in tasks], axis=0)
    return Resampled(pd.Series(estimate, methods), pd.DataFrame(draws, columns=methods))


def resample(
    examples: Mapping[Any, pd.DataFrame],
    *,
    statistic: Statistic,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Resampled:
    """Resample a task's examples with replacement, the same ones for every method.

    examples: by method, one row an example, in the same order, with `value` for a mean (accuracy of
        a text, nDCG of a query), or `value` and `gold` for a correlation or an average precision
        over pairs; and `group` (subset) where a task's score is the mean over groups. Examples are
        drawn within groups.
    Raises ValueError if methods differ in their examples or there are fewer than two of them.
    """
    if samples < 2:
        raise ValueError(f"a bootstrap needs at least 2 samples, 1000 are usual; got {samples}")
    frames = list(examples.values())
    _check_paired(frames, statistic)
    first = frames[0]
    groups = first["group"].to_numpy() if "group" in first else np.zeros(len(first))
    names = pd.unique(groups)
    totals = np.zeros((samples + 1, len(frames)))  # the first row is of every example once
    draw = np.random.default_rng(seed)
    for group in names:
        rows = np.flatnonzero(groups == group)
        score = _SCORES[statistic]
        gold = first["gold"].to_numpy(float)[rows] if "gold" in first else np.zeros(0)
        scorers = [score(frame["value"].to_numpy(float)[rows], gold) for frame in frames]
        for start in range(0, samples + 1, CHUNK):
            size = min(CHUNK, samples + 1 - start)
            weights = _draw_counts(draw, size, len(rows))
            if start == 0:
                weights[0] = 1
            for column, scorer in enumerate(scorers):
                totals[start : start + size, column] += scorer(weights)
    totals /= len(names)
    methods = list(examples)
    return Resampled(pd.Series(totals[0], methods), pd.DataFrame(totals[1:], columns=methods))


def _check_paired(frames: Sequence[pd.DataFrame], statistic: str) -> None:
    """Raise ValueError unless all frames hold the same examples, as the statistic needs them."""
    if statistic not in get_args(Statistic):
        valid = ", ".join(get_args(Statistic))
        raise ValueError(f"statistic {statistic!r} is unknown; valid: {valid}")
    first = frames[0]
    shared = [c for c in ("group", "example", "gold") if any(c in frame for frame in frames)]
    for other in frames:
        same = len(first) == len(other) and all(
            c in first and c in other and (first[c].to_numpy() == other[c].to_numpy()).all()
            for c in shared
        )
        if not same or len(first) < 2:
            raise ValueError(
                f"a paired bootstrap needs the same examples in the same order, at least two; got "
                f"{len(first)} and {len(other)}, which differ in length or in {shared}"
            )
    if statistic != "mean" and "gold" not in first:
        raise ValueError(f"{statistic} needs a column `gold`")


def wilcoxon(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test over paired scores, one a task.

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
    p_value = 1.0  # where all methods are equal on every task, which scipy divides by
    if (scores.nunique(axis=1) > 1).any():
        p_value = float(stats.friedmanchisquare(*(scores[name] for name in scores)).pvalue)
    studentized = stats.studentized_range.ppf(1 - alpha, methods, np.inf)
    critical = float(studentized / np.sqrt(2) * np.sqrt(methods * (methods + 1) / (6 * tasks)))
    return Ranking(ranks, p_value, critical, alpha, tasks)


def holm(p_values: Mapping[Any, float]) -> dict[Any, float]:
    """Adjust the p-values of one family of tests by Holm's step-down procedure."""
    adjusted: dict[Any, float] = {}
    highest = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def _find_tails(confidence: float) -> list[float]:
    return [(1 - confidence) / 2, (1 + confidence) / 2]


def _draw_counts(draw: np.random.Generator, samples: int, examples: int) -> np.ndarray:
    """Return how often each example is drawn, samples x examples."""
    picks = draw.integers(0, examples, (samples, examples))
    picks += np.arange(samples)[:, None] * examples
    counts = np.bincount(picks.ravel(), minlength=samples * examples)
    return counts.reshape(samples, examples).astype(float)


def _mean(value: np.ndarray, gold: np.ndarray) -> Scorer:
    return lambda weights: weights @ value / weights.sum(axis=1)


def _pearson(value: np.ndarray, gold: np.ndarray) -> Scorer:
    return lambda weights: _correlate(value[None], gold[None], weights)


def _spearman(value: np.ndarray, gold: np.ndarray) -> Scorer:
    ranks = [_Ranks(v) for v in (value, gold)]
    return lambda weights: _correlate(ranks[0](weights), ranks[1](weights), weights)


def _average_precision(value: np.ndarray, gold: np.ndarray) -> Scorer:
    order = np.argsort(-value, kind="stable")
    ends = np.flatnonzero(np.diff(value[order], append=np.nan))  # equal values are one threshold
    positive = gold[order]

    def score(weights: np.ndarray) -> np.ndarray:
        drawn = weights[:, order]
        right = (drawn * positive).cumsum(axis=1)[:, ends]
        precision = right / np.maximum(drawn.cumsum(axis=1)[:, ends], 1)
        gained = np.diff(right, axis=1, prepend=0)
        return (gained * precision).sum(axis=1) / np.maximum(right[:, -1], 1)

    return score


class _Ranks:
    """Ranks of values among those drawn; equal ones share the mean of theirs."""

    def __init__(self, values: np.ndarray) -> None:
        self.order = np.argsort(values, kind="stable")
        starts = np.diff(values[self.order], prepend=np.nan) != 0
        self.starts = np.flatnonzero(starts)
        self.level = np.empty(len(values), dtype=int)  # which of the distinct values each one is
        self.level[self.order] = np.cumsum(starts) - 1

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        tied = np.add.reduceat(weights[:, self.order], self.starts, axis=1)
        middle = tied.cumsum(axis=1) - (tied - 1) / 2
        return middle[:, self.level]


def _correlate(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    number = weights.sum(axis=1, keepdims=True)
    first = first - (weights * first).sum(axis=1, keepdims=True) / number
    second = second - (weights * second).sum(axis=1, keepdims=True) / number
    weighted = weights * first
    spread = np.einsum("sn,sn->s", weighted, first) * np.einsum(
        "sn,sn,sn->s", weights, second, second
    )
    return np.einsum("sn,sn->s", weighted, second) / np.sqrt(np.maximum(spread, 1e-300))


_SCORES: Mapping[str, Callable[[np.ndarray, np.ndarray], Scorer]] = {
    "mean": _mean,
    "pearson": _pearson,
    "spearman": _spearman,
    "average_precision": _average_precision,
}
