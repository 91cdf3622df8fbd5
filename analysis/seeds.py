"""Join rows that differ in their training's seed: a mean over seeds, and an interval of it.

Two things are left to chance: which seeds were drawn and which examples were. All seeds are scored
on the same examples, so more seeds do not make the second smaller. An interval joins a t interval
over seeds, whose degrees of freedom are few, and the bootstrap of the seeds' mean over examples, as
the root of the sum of the squared half-widths. Resampling the seeds would not do: of three, each
resample has too small a spread.

S seeds of a group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics import Resampled


@dataclass(frozen=True)
class SeedMean:
    """A mean over seeds. spread: standard deviation of single seeds. margin: half of the 95 %
    interval, of seeds and examples; NaN for one seed."""

    mean: float
    spread: float
    margin: float
    seeds: int


def average_seeds(
    scores: pd.Series, keys: Sequence[Any], drawn: Resampled | None = None
) -> SeedMean:
    """Return the mean of some rows that differ in their seed alone.

    scores: of each row. drawn: the same on resampled examples; None: an interval of seeds alone.
    """
    own = scores[list(keys)].to_numpy(float)
    number, spread = len(own), float(own.std(ddof=1)) if len(own) > 1 else math.nan
    seeds = _measure_t(number - 1) * spread / math.sqrt(number) if number > 1 else math.nan
    margin = math.hypot(seeds, _measure_examples(drawn, keys))
    return SeedMean(float(own.mean()), spread, margin, number)


def subtract_groups(
    scores: pd.Series, first: Sequence[Any], second: Sequence[Any], drawn: Resampled | None = None
) -> tuple[float, float]:
    """Return the mean of one group minus another's, and half of the 95 % interval (Welch's t over
    seeds, and the paired bootstrap over examples); NaN where a group has one seed."""
    one, other = scores[list(first)].to_numpy(float), scores[list(second)].to_numpy(float)
    difference = float(one.mean() - other.mean())
    if min(len(one), len(other)) < 2:
        return difference, math.nan
    squares = [group.var(ddof=1) / len(group) for group in (one, other)]
    seeds = 0.0
    if total := sum(squares):
        parts = zip(squares, (one, other), strict=True)
        freedom = total**2 / sum(square**2 / (len(group) - 1) for square, group in parts)
        seeds = _measure_t(freedom) * math.sqrt(total)
    return difference, math.hypot(seeds, _measure_examples(drawn, first, second))


def _measure_t(freedom: float) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.975, freedom))


def _measure_examples(
    drawn: Resampled | None, first: Sequence[Any], second: Sequence[Any] = ()
) -> float:
    """Return half the bootstrap's interval of a group's mean, or of the difference of two."""
    if drawn is None or not {*first, *second} <= set(drawn.estimate.index):
        return 0.0
    means = drawn.draws[list(first)].mean(axis=1)
    if second:
        means = means - drawn.draws[list(second)].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(high - low) / 2
