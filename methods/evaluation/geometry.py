"""Measure the geometry of an embedding space, from the vectors that a task was scored with.

N texts, D dimensions; vectors are scaled to unit length first, as in cosine similarity. Samples are
drawn with a fixed seed, so that cells are measured on the same texts.

    mean_cosine      of two different texts; far above 0 means the space is a cone (anisotropy)
    uniformity       log of the mean of exp(-2 squared distance) over pairs; lower is more uniform
    effective_rank   exp of the entropy of the singular values, centred (Roy and Vetterli, 2007)
    top_dimension    share of the variance in the one dimension that has most of it
    top_components   share of the variance in the first ten principal components
    alignment        mean squared distance of positive pairs; lower is closer
    centred          the main score after the mean vector is subtracted
    whitened         the main score after whitening (Su et al., arXiv 2103.15316), no dimension cut

Alignment and uniformity are those of Wang and Isola (arXiv 2005.10242). The last three are for
tasks of pairs; the mean and the whitening are those of the task's own texts, both sides, and
whitening is left out where there are no more texts than dimensions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mteb.abstasks import AbsTaskPairClassification, AbsTaskSTS

from methods.evaluation.per_example import STATISTICS, find_statistic, read_gold
from methods.evaluation.whitening import compute_whitened_cosines

log = logging.getLogger(__name__)

SAMPLE = 1000  # texts that pairs and variances are of
POSITIVE = 0.8  # of the scale: pairs rated higher are positive, as in SimCSE's analysis of STS-B


@dataclass
class EmbeddingRecorder:
    """A callback that stores an encoder's vectors of the scored splits, until the task is done.

    pairs: whether all vectors are needed, in order (a task of pairs); else SAMPLE of each call.
    calls: the vectors of each call, by split and subset.
    """

    splits: list[str]
    pairs: bool
    calls: dict[tuple[str, str], list[np.ndarray]] = field(default_factory=dict)

    def __call__(self, vectors_ND: np.ndarray, split: str | None, subset: str | None) -> None:
        if split not in self.splits or subset is None or not len(vectors_ND):
            return
        if not self.pairs:
            vectors_ND = _draw_sample(vectors_ND)
        self.calls.setdefault((split, subset), []).append(vectors_ND)


def make_recorder(task: Any) -> EmbeddingRecorder:
    """Return a recorder for a task's embeddings."""
    return EmbeddingRecorder(
        list(task.eval_splits), pairs=isinstance(task, AbsTaskSTS | AbsTaskPairClassification)
    )


def measure_geometry(
    task: Any,
    recorder: EmbeddingRecorder,
    *,
    device: str = "cpu",
    faults: list[str] | None = None,
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return the measures above by split and subset, as far as they can be computed.

    device: where vectors are whitened.
    faults: where given, a sentence is added to it for each that cannot; else it is logged.
    """
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    failed: list[str] = []
    for (split, subset), calls in recorder.calls.items():
        measures: dict[str, float | None] = {}
        try:
            measures |= measure_shape(np.concatenate(calls))
            measures |= _measure_sides(task, calls, split, subset, device)
        except (ValueError, TypeError, np.linalg.LinAlgError) as error:
            failed.append(f"{task.metadata.name}, {subset}/{split}: {error}")
        found.setdefault(split, {})[subset] = {
            name: None if value is None else float(f"{value:.6g}")
            for name, value in measures.items()
        }
    for fault in failed if faults is None else ():
        log.warning("the geometry is measured in part: %s", fault)
    if faults is not None:
        faults += failed
    return found


def _measure_sides(
    task: Any, calls: list[np.ndarray], split: str, subset: str, device: str
) -> dict[str, float | None]:
    """Return the last three measures of a task of pairs; none of another.

    mteb encodes the first sides of all pairs in one call and the second sides in another; whichever
    comes first, the measures are the same. Other calls (each document once) have another size.
    Raises ValueError unless there are exactly two calls of that size.
    """
    gold, statistic = read_gold(task, split, subset), find_statistic(task)
    if gold is None:
        return {}
    sides = [vectors for vectors in calls if len(vectors) == len(gold)]
    if len(sides) != 2:
        sizes = ", ".join(str(len(vectors)) for vectors in calls)
        raise ValueError(
            f"the two sides of {len(gold)} pairs were expected; mteb encoded {sizes} texts, so "
            f"alignment, centring and whitening cannot be measured"
        )
    score = STATISTICS.get(statistic or "")
    return measure_pairs(sides[0], sides[1], gold, score, device=device)


def measure_shape(vectors_ND: np.ndarray) -> dict[str, float]:
    """Return the first five measures; none for a single vector."""
    if len(vectors_ND) < 2:
        return {}
    unit = _scale_to_unit(_draw_sample(vectors_ND).astype(np.float64))
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


def measure_pairs(
    first_ND: np.ndarray,
    second_ND: np.ndarray,
    gold: np.ndarray,
    score: Callable[[np.ndarray, np.ndarray], float] | None,
    *,
    device: str = "cpu",
) -> dict[str, float | None]:
    """Return the last three measures, from pairs with a human score in [0, 1] or a label."""
    first, second = (
        _scale_to_unit(first_ND.astype(np.float64)),
        _scale_to_unit(second_ND.astype(np.float64)),
    )
    close = 2 - 2 * (first * second).sum(axis=1)[gold > POSITIVE]
    found: dict[str, float | None] = {"alignment": float(close.mean()) if len(close) else None}
    if score is None:
        return found
    mean = np.concatenate([first, second]).mean(axis=0)
    found["centred"] = score(_compute_cosines(first - mean, second - mean), gold)
    found["whitened"] = None
    if 2 * len(first) > first.shape[1]:
        found["whitened"] = score(compute_whitened_cosines(first, second, device=device), gold)
    return found


def _compute_cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (_scale_to_unit(first) * _scale_to_unit(second)).sum(axis=1)


def _scale_to_unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)


def _draw_sample(vectors_ND: np.ndarray) -> np.ndarray:
    if len(vectors_ND) <= SAMPLE:
        return vectors_ND
    chosen = np.random.default_rng(0).choice(len(vectors_ND), SAMPLE, replace=False)
    return vectors_ND[np.sort(chosen)]
