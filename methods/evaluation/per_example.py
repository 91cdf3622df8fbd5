"""Collect the values per example that a main score is made of, for confidence intervals.

mteb writes a task's predictions; with the task's own labels they become one value a pair, a text
or a query, and the statistic that turns values into the main score:

    STS                  the pair's similarity, and the human score      spearman | pearson
    PairClassification   the pair's similarity, and its label            average_precision
    Classification       how often a text's class was named right        mean
    Retrieval, Reranking the query's nDCG@k, MAP@k or recall@k           mean

Clustering and summarisation have no such values. Nor has a task whose values do not reproduce its
main score (this is checked), or that reports a standard error of its own because its examples
depend on each other. Values are rounded to six digits; where rounding ties similarities, which
changes a rank correlation, to as many digits as reproduce the main score.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mteb import TaskResult
from mteb.abstasks import (
    AbsTaskClassification,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
    AbsTaskSTS,
)
from scipy import stats
from sklearn.metrics import average_precision_score

from methods.evaluation.mteb_internals import (
    find_label_column,
    find_split,
    is_cross_validated,
    name_similarity,
    read_predictions,
    score_queries,
)

log = logging.getLogger(__name__)

TOLERANCE = 5e-5  # of the main score (0-1): what rounding values may cost
DIGITS = (6, 9, 17)  # of a value: the fewest that reproduce the main score


def _correlate(of: Any, gold: np.ndarray, value: np.ndarray) -> float:
    """Return a correlation: NaN, as scipy but without a warning, for constant or single values."""
    if len(value) < 2 or (gold == gold[0]).all() or (value == value[0]).all():
        return math.nan
    return float(of(gold, value)[0])


def _average_precision(value: np.ndarray, gold: np.ndarray) -> float:
    """Return average precision; 0, as scikit-learn but without a warning, if none is positive."""
    return float(average_precision_score(gold, value)) if gold.any() else 0.0


STATISTICS: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mean": lambda value, gold: float(value.mean()),
    "spearman": lambda value, gold: _correlate(stats.spearmanr, gold, value),
    "pearson": lambda value, gold: _correlate(stats.pearsonr, gold, value),
    "average_precision": _average_precision,
}


@dataclass(frozen=True)
class Examples:
    """Values per example: columns split, subset, example (its index, or a query's id), value and,
    for a statistic other than the mean, gold; and genre, where the data have it."""

    statistic: str
    unit: str
    frame: pd.DataFrame


class CannotStore(ValueError):
    """A task's examples cannot be stored; the message says why and what follows."""


def collect(task: Any, folder: Path, result: TaskResult) -> Examples | None:
    """Return a task's examples from the predictions that mteb wrote to a folder, or None.

    Logs why a task that should have examples has none; `collect_or_raise` raises it.
    """
    try:
        return collect_or_raise(task, folder, result)
    except CannotStore as error:
        log.warning("%s", error)
        return None


def collect_or_raise(task: Any, folder: Path, result: TaskResult) -> Examples | None:
    """Return `collect`'s result; raises CannotStore where the examples cannot be stored."""
    kinds = (
        (AbsTaskSTS, "pair", _read_similarities),
        (AbsTaskPairClassification, "pair", _read_distances),
        (AbsTaskClassification, "text", _read_classes),
        (AbsTaskRetrieval, "query", _read_queries),
    )
    kind = next(((unit, read) for of, unit, read in kinds if isinstance(task, of)), None)
    statistic = find_statistic(task)
    if kind is None or statistic is None:
        return None
    unit, read = kind
    try:
        if (predicted := read_predictions(task, folder)) is None:
            return None
        frames = list(_iterate_frames(task, predicted, read, statistic, result))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise CannotStore(
            f"{task.metadata.name} has no values per example, so its score is without a confidence "
            f"interval and in no significance test: {reason}"
        ) from error
    return Examples(statistic, unit, pd.concat(frames, ignore_index=True)) if frames else None


def find_statistic(task: Any) -> str | None:
    """Return the name in STATISTICS of a task's main score, by the score's name, or None."""
    name = task.metadata.main_score
    if isinstance(task, AbsTaskSTS | AbsTaskPairClassification):
        for ending, statistic in (("spearman", "spearman"), ("pearson", "pearson")):
            if name.endswith(ending):
                return statistic
        return "average_precision" if name.endswith("_ap") else None
    if isinstance(task, AbsTaskClassification):
        return "mean" if name == "accuracy" and not is_cross_validated(task) else None
    return "mean" if isinstance(task, AbsTaskRetrieval) and _parse_metric(name) else None


def read_gold(task: Any, split: str, subset: str) -> np.ndarray | None:
    """Return human scores (as fractions of the scale) or labels of a task of pairs, else None."""
    if isinstance(task, AbsTaskSTS):
        span = task.max_score - task.min_score
        scores = np.asarray(list(find_split(task, split, subset)["score"]), dtype=float)
        return (scores - task.min_score) / span
    if isinstance(task, AbsTaskPairClassification):
        labels = list(find_split(task, split, subset)[find_label_column(task)])
        return np.asarray(labels[0] if len(labels) == 1 else labels, dtype=float)
    return None


def _iterate_frames(
    task: Any,
    predicted: Mapping[str, Any],
    read: Callable[..., dict[str, Sequence[Any]]],
    statistic: str,
    result: TaskResult,
) -> Iterator[pd.DataFrame]:
    for split, entries in result.scores.items():
        for scores in entries:
            subset = scores["hf_subset"]
            found = predicted.get(subset, {}).get(split)
            if found is None or "main_score_error" in scores:
                continue
            columns = read(task, found, split, subset, scores)
            frame = pd.DataFrame({"split": split, "subset": subset, **columns})
            yield _round(frame, statistic, scores["main_score"], f"{subset}/{split}")


def _round(frame: pd.DataFrame, statistic: str, score: float, place: str) -> pd.DataFrame:
    """Return examples with values rounded to the fewest digits that reproduce the main score.

    Raises ValueError where even unrounded values do not.
    """
    if math.isnan(score):
        raise ValueError(
            f"the main score of {place} is not a number, as for a correlation where all "
            f"similarities or all human scores are equal"
        )
    again = math.nan
    for digits in DIGITS:
        values = pd.Series([float(f"{value:.{digits}g}") for value in frame["value"]], frame.index)
        gold = frame.get("gold", values).to_numpy(float)
        again = STATISTICS[statistic](values.to_numpy(), gold)
        if abs(again - score) <= TOLERANCE:
            # as objects, digits beyond the sixth survive a CSV's float format
            return frame.assign(value=values if digits == DIGITS[0] else values.astype(object))
    raise ValueError(
        f"the {statistic} of the predictions that mteb saved for {place} is {again:.5f}, its main "
        f"score {score:.5f}: mteb computed the score from something else"
    )


def _read_similarities(
    task: Any, found: Any, split: str, subset: str, scores: Mapping[str, Any]
) -> dict[str, Sequence[Any]]:
    value = found[name_similarity(task.metadata.main_score, "cosine_scores")]
    gold, data = read_gold(task, split, subset), find_split(task, split, subset)
    columns = {"example": range(len(value)), "value": value, "gold": _list_short(gold)}
    if "genre" in data.column_names:  # STSBenchmark's captions, forums and news
        columns["genre"] = list(data["genre"])
    return columns


def _read_distances(
    task: Any, found: Any, split: str, subset: str, scores: Mapping[str, Any]
) -> dict[str, Sequence[Any]]:
    name = task.metadata.main_score
    if name == "max_ap":  # the score of the similarity that is best on this data
        name = max(
            (f"{of}_ap" for of in ("cosine", "dot", "euclidean", "manhattan", "similarity")),
            key=lambda of: scores[of],
        )
    value = np.asarray(found[name_similarity(name, "similarity_scores")], dtype=float)
    value = -value if name.startswith(("euclidean", "manhattan")) else value
    gold = read_gold(task, split, subset)
    return {"example": range(len(value)), "value": value.tolist(), "gold": _list_short(gold)}


def _read_classes(
    task: Any, found: Any, split: str, subset: str, scores: Mapping[str, Any]
) -> dict[str, Sequence[Any]]:
    labels = np.asarray(list(find_split(task, split, subset)[find_label_column(task)]))
    right = (np.asarray(found) == labels).mean(axis=0)
    return {"example": range(len(right)), "value": right.tolist()}


def _read_queries(
    task: Any, found: Any, split: str, subset: str, scores: Mapping[str, Any]
) -> dict[str, Sequence[Any]]:
    measure, at = _parse_metric(task.metadata.main_score) or ("", 0)
    relevant = find_split(task, split, subset)["relevant_docs"]
    scored = score_queries(task, found, relevant, measure=measure, at=at)
    names = sorted(scored)
    return {"example": names, "value": [scored[name] for name in names]}


def _parse_metric(metric: str) -> tuple[str, int] | None:
    """Return trec_eval's name of a metric, and its cut-off: ndcg_at_10 -> (ndcg_cut_10, 10)."""
    name, _, at = metric.rpartition("_at_")
    kind = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall"}.get(name)
    return (f"{kind}_{at}", int(at)) if kind else None


def _list_short(values: np.ndarray | None) -> list[float]:
    return [float(f"{value:.6g}") for value in values] if values is not None else []
