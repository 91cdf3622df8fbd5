"""mteb's result files, of every generation -> rows: a task's scores by split and subset.

    since 1.11   {"task_name", "dataset_revision", "scores": {split: [{"hf_subset", "main_score"}]}}
    before       {"mteb_dataset_name", "dataset_revision", split: {subset: {...}}}, or
                 {split: {...}} of a task without subsets, often without a main score:
                 {"test": {"cos_sim": {"spearman": 0.7}}}

Where a file states no main score, the one that mteb uses for tasks with such metrics is taken. A
file in neither form is Unreadable, and is named in the report.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ABOUT = {"mteb_dataset_name", "mteb_version", "dataset_revision", "evaluation_time", "task_name"}
ABOUT |= {"kg_co2_emissions", "date", "evaluation_phases"}
GROUPS = {"cos_sim", "cosine", "dot", "euclidean", "manhattan", "max", "similarity", "v_measures"}
# The main score of a file that names none: the first of these that it holds.
MAIN_SCORES = (
    *(("cos_sim", "spearman"), ("cosine", "spearman"), ("max", "ap"), ("cos_sim", "ap")),
    *(("cosine", "ap"), ("cosine_spearman",), ("cos_sim_spearman",), ("max_ap",)),
    *(("ndcg_at_10",), ("map",), ("v_measure",)),
)
# Tasks that mteb has renamed since (mteb.results.task_result.renamed_tasks).
RENAMED = {
    "NorwegianParliament": "NorwegianParliamentClassification",
    "CMedQAv2": "CMedQAv2-reranking",
    "CMedQAv1": "CMedQAv1-reranking",
    "8TagsClustering": "EightTagsClustering",
    "PPC": "PpcPC",
}


class Unreadable(ValueError):
    """A file is no result that can be read; the message is the reason."""


def read_json(file: Path) -> Any:
    """Return a JSON file's content. Raises Unreadable."""
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    except ValueError as error:
        raise Unreadable(f"no JSON: {error}") from error


def is_result(data: Any) -> bool:
    """Return whether JSON looks like a result of mteb's, of any generation."""
    return isinstance(data, Mapping) and (
        ("task_name" in data and "scores" in data)
        or "mteb_dataset_name" in data
        or ("mteb_version" in data and any(isinstance(part, Mapping) for part in data.values()))
    )


def read_result(file: Path, data: Any) -> list[dict[str, Any]]:
    """Return a file's rows: task, split, subset, score, score_error, dataset_revision; `status` and
    `message` where it has no score. Raises Unreadable."""
    if not is_result(data):
        raise Unreadable("neither mteb's layout since 1.11 (task_name, scores) nor an older one")
    name = str(data.get("task_name") or data.get("mteb_dataset_name") or file.stem)
    splits = data["scores"] if "scores" in data else _select_splits(data)
    if not isinstance(splits, Mapping):
        raise Unreadable(f"`scores` is {type(splits).__name__}, not an object of splits")
    rows = []
    for split, entries in splits.items():
        for subset, scores in _iterate_subsets(split, entries):
            row = {
                "task": RENAMED.get(name, name),
                "split": split,
                "subset": subset,
                "score_error": scores.get("main_score_error"),
                "dataset_revision": data.get("dataset_revision"),
            }
            rows.append({**row, **_read_main_score(scores)})
    if not rows:
        raise Unreadable("it holds no scores")
    return rows


def _select_splits(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k not in ABOUT and isinstance(v, Mapping)}


def _iterate_subsets(split: str, entries: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (subset, scores) of a split: a list, an object of subsets, or the scores themselves."""
    if isinstance(entries, Mapping):
        inner = {
            name: value
            for name, value in entries.items()
            if isinstance(value, Mapping) and name not in GROUPS
        }
        entries = [
            {"hf_subset": name, **value} for name, value in (inner or {"default": entries}).items()
        ]
    if not isinstance(entries, list):
        raise Unreadable(f"split {split} is {type(entries).__name__}, no list of scores")
    for scores in entries:
        if not isinstance(scores, Mapping):
            raise Unreadable(f"split {split} holds {type(scores).__name__}, no scores")
        yield str(scores.get("hf_subset", "default")), scores


def _read_main_score(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the main score as a fraction; where there is none, why."""
    if "main_score" in scores:
        value = scores["main_score"]
        if isinstance(value, int | float) and math.isfinite(value):
            return {"score": float(value)}
        return {"status": "undefined", "message": f"its main score is {value!r}, no number"}
    for path in _iterate_score_paths(scores):
        value: Any = scores
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, int | float) and math.isfinite(value):
            return {"score": float(value), "metric": "_".join(path)}
    return {"status": "undefined", "message": "its file holds no main score"}


def _iterate_score_paths(scores: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    yield from MAIN_SCORES
    yield ("f1",) if {"f1", "precision", "recall"} <= set(scores) else ("accuracy",)
