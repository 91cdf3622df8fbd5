"""The shape of an embedding space, from vectors that a task was scored with.

N texts, D dimensions, all vectors brought to unit length first, as cosine does. What is drawn is
drawn with a fixed seed, so that cells are measured on the same texts.

    mean_cosine      of two different texts; far above 0 means the space is a cone (anisotropy)
    uniformity       log of the mean of exp(-2 squared distance) over pairs; lower is more uniform
    effective_rank   exp of the entropy of the singular values, centred (Roy and Vetterli, 2007)
    top_dimension    share of the variance in the one dimension that has most of it
    top_components   share of the variance in the first ten principal components
    alignment        mean squared distance of positive pairs; lower is closer
    centred          the main score after the mean vector is taken off
    whitened         the main score after whitening (Su et al., arXiv 2103.15316), no dimension cut

Alignment and uniformity are those of Wang and Isola (arXiv 2005.10242). The last three are for
tasks of pairs; the mean and the whitening are those of the task's own texts, both sides, and
whitening is left out where there are no more texts than dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mteb.abstasks import AbsTaskPairClassification, AbsTaskSTS

from methods.evaluation.examples import STATISTICS, gold_of, statistic_of

SAMPLE = 1000  # texts that pairs and variances are of
POSITIVE = 0.8  # of the scale: pairs rated higher are positive, as in SimCSE's analysis of STS-B


@dataclass
class Watch:
    """Keeps what an encoder gives for the splits that are scored, until the task is done.

    pairs: whether all vectors are needed, in order (a task of pairs); else SAMPLE of each call.
    """

    splits: list[str]
    pairs: bool
    seen: dict[tuple[str, str], list[np.ndarray]] = field(default_factory=dict)

    def __call__(self, vectors_ND: np.ndarray, split: str | None, subset: str | None) -> None:
        if split not in self.splits or subset is None or not len(vectors_ND):
            return
        if not self.pairs:
            vectors_ND = _sample(vectors_ND)
        self.seen.setdefault((split, subset), []).append(vectors_ND)


def watch(task: Any) -> Watch:
    """A watch fit for a task."""
    return Watch(
        list(task.eval_splits), pairs=isinstance(task, AbsTaskSTS | AbsTaskPairClassification)
    )


def describe(task: Any, seen: Watch) -> dict[str, dict[str, dict[str, float | None]]]:
    """The measures above by split and subset."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for (split, subset), calls in seen.seen.items():
        measures: dict[str, float | None] = {**shape(np.concatenate(calls))}
        gold, statistic = gold_of(task, split, subset), statistic_of(task)
        if gold is not None and len(calls) > 1 and len(calls[0]) == len(calls[1]) == len(gold):
            score = STATISTICS.get(statistic or "")
            measures |= of_pairs(calls[0], calls[1], gold, score)
        found.setdefault(split, {})[subset] = {
            name: None if value is None else float(f"{value:.6g}")
            for name, value in measures.items()
        }
    return found


def shape(vectors_ND: np.ndarray) -> dict[str, float]:
    """How vectors lie: the first five measures; none of a single vector."""
    if len(vectors_ND) < 2:
        return {}
    unit = _unit(_sample(vectors_ND).astype(np.float64))
    number = len(unit)
    cosines = unit @ unit.T
    apart = cosines[~np.eye(number, dtype=bool)]
    centred = unit - unit.mean(axis=0)
    small = centred @ centred.T if number < unit.shape[1] else centred.T @ centred
    variance = np.clip(np.linalg.eigvalsh(small)[::-1], 0, None)
    share = np.sqrt(variance) / max(np.sqrt(variance).sum(), 1e-300)
    entropy = -(share * np.log(np.maximum(share, 1e-300))).sum()
    by_dimension = (centred**2).sum(axis=0)
    total = max(by_dimension.sum(), 1e-300)
    return {
        "mean_cosine": float(apart.mean()),
        "uniformity": float(np.log(np.exp(-2 * (2 - 2 * apart)).mean())),
        "effective_rank": float(np.exp(entropy)),
        "top_dimension": float(by_dimension.max() / total),
        "top_components": float(variance[:10].sum() / total),
    }


def of_pairs(
    first_ND: np.ndarray,
    second_ND: np.ndarray,
    gold: np.ndarray,
    score: Callable[[np.ndarray, np.ndarray], float] | None,
) -> dict[str, float | None]:
    """What pairs with a human score in [0, 1] or a label tell: the last three measures."""
    first, second = _unit(first_ND.astype(np.float64)), _unit(second_ND.astype(np.float64))
    size = first.shape[1]
    close = 2 - 2 * (first * second).sum(axis=1)[gold > POSITIVE]
    found: dict[str, float | None] = {"alignment": float(close.mean()) if len(close) else None}
    if score is None:
        return found
    both = np.concatenate([first, second])
    mean = both.mean(axis=0)
    found["centred"] = score(_cosines(first - mean, second - mean), gold)
    found["whitened"] = None
    variance, axes = np.linalg.eigh(np.cov(both, rowvar=False))
    if len(both) > size:
        wide = variance > variance[-1] * 1e-10  # MiniLM has a dimension that never moves
        scale = axes[:, wide] / np.sqrt(variance[wide])
        found["whitened"] = score(_cosines((first - mean) @ scale, (second - mean) @ scale), gold)
    return found


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (_unit(first) * _unit(second)).sum(axis=1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)


def _sample(vectors_ND: np.ndarray) -> np.ndarray:
    if len(vectors_ND) <= SAMPLE:
        return vectors_ND
    chosen = np.random.default_rng(0).choice(len(vectors_ND), SAMPLE, replace=False)
    return vectors_ND[np.sort(chosen)]
