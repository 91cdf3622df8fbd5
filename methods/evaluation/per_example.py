"""What a main score is made of, example by example, so that differences can have intervals.

mteb writes a task's predictions; with the task's own labels they become one value a pair, a text
or a query, and the statistic that turns values into the main score:

    STS                  the pair's similarity, and the human score      spearman | pearson
    PairClassification   the pair's similarity, and its label            average_precision
    Classification       how often a text's class was named right        mean
    Retrieval, Reranking the query's nDCG@k, MAP@k or recall@k           mean

Clustering and summarisation have no such values. Nor has a task whose values do not give its main
score again (that is checked), or that states an error of its own because its examples depend on
each other. Values are kept to six digits; where those make ties of a model's similarities, which
change a rank correlation, to as many as give the main score again.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mteb import TaskResult
from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores
from mteb.abstasks import (
    AbsTaskClassification,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
    AbsTaskSTS,
)
from scipy import stats
from sklearn.metrics import average_precision_score

log = logging.getLogger(__name__)

TOLERANCE = 5e-5  # of the main score (0-1): what rounding values may cost
DIGITS = (6, 9, 17)  # of a value: the fewest that give the main score again


def _correlation(of: Any, gold: np.ndarray, value: np.ndarray) -> float:
    """NaN, as scipy has it but without its warning, for fewer than two or constant values."""
    if len(value) < 2 or (gold == gold[0]).all() or (value == value[0]).all():
        return math.nan
    return float(of(gold, value)[0])


def _average_precision(value: np.ndarray, gold: np.ndarray) -> float:
    """0, as scikit-learn has it but without its warning, where no example is positive."""
    return float(average_precision_score(gold, value)) if gold.any() else 0.0


STATISTICS: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mean": lambda value, gold: float(value.mean()),
    "spearman": lambda value, gold: _correlation(stats.spearmanr, gold, value),
    "pearson": lambda value, gold: _correlation(stats.pearsonr, gold, value),
    "average_precision": _average_precision,
}


@dataclass(frozen=True)
class Examples:
    """Columns split, subset, example (its place, or a query's id), value and, for a statistic
    other than the mean, gold; and genre, where the data say it."""

    statistic: str
    unit: str
    frame: pd.DataFrame


class CannotKeep(ValueError):
    """Why a task that has examples keeps none, and what follows; in a sentence."""


def collect(task: Any, folder: Path, result: TaskResult) -> Examples | None:
    """The examples of a task from the predictions mteb left in a folder; None if it has none.

    Logs, once, why a task that should have some keeps none. `collect_or_raise` raises it.
    """
    try:
        return collect_or_raise(task, folder, result)
    except CannotKeep as error:
        log.warning("%s", error)
        return None


def collect_or_raise(task: Any, folder: Path, result: TaskResult) -> Examples | None:
    """`collect`, except that it raises CannotKeep where it cannot keep what there is."""
    kinds = (
        (AbsTaskSTS, "pair", _similarities),
        (AbsTaskPairClassification, "pair", _distances),
        (AbsTaskClassification, "text", _classes),
        (AbsTaskRetrieval, "query", _queries),
    )
    kind = next(((unit, read) for of, unit, read in kinds if isinstance(task, of)), None)
    statistic = statistic_of(task)
    file = folder / f"{task.metadata.name}_predictions.json"
    if kind is None or statistic is None or not file.exists():
        return None
    unit, read = kind
    try:
        pieces = list(_pieces(task, json.loads(file.read_text()), read, statistic, result))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        told = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise CannotKeep(
            f"{task.metadata.name} keeps no examples, so that its score stands without a "
            f"confidence interval and in no significance test: {told}"
        ) from error
    return Examples(statistic, unit, pd.concat(pieces, ignore_index=True)) if pieces else None


def statistic_of(task: Any) -> str | None:
    """The statistic (of STATISTICS) that makes a task's main score, by the score's name."""
    name = task.metadata.main_score
    if isinstance(task, AbsTaskSTS | AbsTaskPairClassification):
        for ending, statistic in (("spearman", "spearman"), ("pearson", "pearson")):
            if name.endswith(ending):
                return statistic
        return "average_precision" if name.endswith("_ap") else None
    if isinstance(task, AbsTaskClassification):
        return "mean" if name == "accuracy" and not task.is_cross_validation else None
    return "mean" if isinstance(task, AbsTaskRetrieval) and _measure(name) else None


def gold_of(task: Any, split: str, subset: str) -> np.ndarray | None:
    """Human scores (as fractions of the scale) or labels of a task of pairs; else None."""
    if isinstance(task, AbsTaskSTS):
        span = task.max_score - task.min_score
        scores = np.asarray(list(_data(task, split, subset)["score"]), dtype=float)
        return (scores - task.min_score) / span
    if isinstance(task, AbsTaskPairClassification):
        labels = list(_data(task, split, subset)[task.label_column_name])
        return np.asarray(labels[0] if len(labels) == 1 else labels, dtype=float)
    return None


def _pieces(
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
            piece = pd.DataFrame({"split": split, "subset": subset, **columns})
            yield _rounded(piece, statistic, scores["main_score"], f"{subset}/{split}")


def _rounded(piece: pd.DataFrame, statistic: str, score: float, place: str) -> pd.DataFrame:
    """The examples, their values as short as gives the main score again.

    Raises ValueError where even whole values do not.
    """
    if math.isnan(score):
        raise ValueError(
            f"the main score of {place} is no number, as a correlation is none where all "
            f"similarities or all human scores are the same"
        )
    again = math.nan
    for digits in DIGITS:
        values = pd.Series([float(f"{value:.{digits}g}") for value in piece["value"]], piece.index)
        gold = piece.get("gold", values).to_numpy(float)
        again = STATISTICS[statistic](values.to_numpy(), gold)
        if abs(again - score) <= TOLERANCE:
            # as objects, digits beyond the sixth outlive a CSV's float format
            return piece.assign(value=values if digits == DIGITS[0] else values.astype(object))
    raise ValueError(
        f"the {statistic} of the predictions that mteb saved for {place} is {again:.5f}, its main "
        f"score {score:.5f}: mteb made the score of something else than these predictions"
    )


def _similarities(
    task: Any, found: Any, split: str, subset: str, scores: Mapping[str, Any]
) -> dict[str, Sequence[Any]]:
    value = found[_of_metric(task.metadata.main_score, "cosine_scores")]
    gold, data = gold_of(task, split, subset), _data(task, split, subset)
    columns = {"example": range(len(value)), "value": value, "gold": _short(gold)}
    if "genre" in data.column_names:  # STSBenchmark's captions, forums and news
        columns["genre"] = list(data["genre"])
    return columns


def _distances(
    task: Any, found: Any, split: str, subset: str, scores: Mapping[str, Any]
) -> dict[str, Sequence[Any]]:
    name = task.metadata.main_score
    if name == "max_ap":  # the similarity that did best on this data is the one that counts
        name = max(
            (f"{of}_ap" for of in ("cosine", "dot", "euclidean", "manhattan", "similarity")),
            key=lambda of: scores[of],
        )
    value = np.asarray(found[_of_metric(name, "similarity_scores")], dtype=float)
    value = -value if name.startswith(("euclidean", "manhattan")) else value
    gold = gold_of(task, split, subset)
    return {"example": range(len(value)), "value": value.tolist(), "gold": _short(gold)}


def _of_metric(metric: str, otherwise: str) -> str:
    """The name under which mteb's predictions hold the similarity that a metric is made of."""
    return {
        "cosine": "cosine_scores",
        "dot": "dot_scores",
        "euclidean": "euclidean_distances",
        "manhattan": "manhattan_distances",
        "similarity": "similarity_scores",
    }.get(metric.split("_")[0], otherwise)


def _classes(
    task: Any, found: Any, split: str, subset: str, scores: Mapping[str, Any]
) -> dict[str, Sequence[Any]]:
    labels = np.asarray(list(_data(task, split, subset)[task.label_column_name]))
    right = (np.asarray(found) == labels).mean(axis=0)
    return {"example": range(len(right)), "value": right.tolist()}


def _queries(
    task: Any, found: Any, split: str, subset: str, scores: Mapping[str, Any]
) -> dict[str, Sequence[Any]]:
    measure, at = _measure(task.metadata.main_score) or ("", 0)
    relevant = _data(task, split, subset)["relevant_docs"]
    if task.ignore_identical_ids:
        found = {q: {d: s for d, s in docs.items() if d != q} for q, docs in found.items()}
    graded = calculate_retrieval_scores(found, relevant, [at], task.skip_first_result)
    names = sorted(graded.all_scores)
    return {"example": names, "value": [graded.all_scores[name][measure] for name in names]}


def _measure(metric: str) -> tuple[str, int] | None:
    """trec_eval's name of a metric, and its cut-off: ndcg_at_10 -> (ndcg_cut_10, 10)."""
    name, _, at = metric.rpartition("_at_")
    kind = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall"}.get(name)
    return (f"{kind}_{at}", int(at)) if kind else None


def _data(task: Any, split: str, subset: str) -> Any:
    parts = task.dataset[subset] if subset in task.dataset else task.dataset
    return parts[split]


def _short(values: np.ndarray | None) -> list[float]:
    return [float(f"{value:.6g}") for value in values] if values is not None else []
