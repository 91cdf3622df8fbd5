"""Use mteb's private and undocumented parts, so that no other file of this room does.

These are the registry of tasks, attributes of task classes, the file of predictions, scores of
single queries, the data loader and the result cache. mteb may change any of them in any release;
tests/test_upstream.py lists each, with who uses it and what to do when it is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from mteb import TaskResult
from mteb._create_dataloaders import create_dataloader
from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.cache import ResultCache
from mteb.get_tasks import _TASKS_REGISTRY
from mteb.models.model_meta import ModelMeta
from mteb.types import PromptType

from methods.records import write_atomically

__all__ = ["RetrievalSplitData"]  # what demo tasks fill
SIMILARITIES = {  # first word of a metric -> the key of its values in a file of predictions
    "cosine": "cosine_scores",
    "dot": "dot_scores",
    "euclidean": "euclidean_distances",
    "manhattan": "manhattan_distances",
    "similarity": "similarity_scores",
}


def list_task_names() -> list[str]:
    """Return the names of all tasks that mteb has."""
    return list(_TASKS_REGISTRY)


def encode_column(
    task: Any,
    model: Any,
    data: Dataset,
    column: str,
    *,
    encode_kwargs: Mapping[str, Any],
    hf_split: str,
    hf_subset: str,
) -> np.ndarray:
    """Return a model's vectors of one column of texts, encoded as mteb's own tasks encode them."""
    loader = create_dataloader(
        data, task_metadata=task.metadata, input_column=column, **encode_kwargs
    )
    about = {"task_metadata": task.metadata, "hf_split": hf_split, "hf_subset": hf_subset}
    return np.asarray(model.encode(loader, **about, **encode_kwargs))


def encode_rows(
    model: Any, rows: Dataset, side: str, *, encode_kwargs: Mapping[str, Any], **about: Any
) -> None:
    """Let a model encode queries or documents of a retrieval task as mteb's search does.

    side: `query` or `document`. about: task_metadata, hf_split, hf_subset.
    """
    prompt_type = PromptType(side)
    loader = create_dataloader(
        rows, task_metadata=about["task_metadata"], prompt_type=prompt_type, **encode_kwargs
    )
    model.encode(loader, prompt_type=prompt_type, **about, **encode_kwargs)


def score_queries(
    task: Any, ranked: Mapping[str, Mapping[str, float]], relevant: Any, *, measure: str, at: int
) -> dict[str, float]:
    """Return one measure of trec_eval for each query of a retrieval task's predictions."""
    if task.ignore_identical_ids:
        ranked = {q: {d: s for d, s in docs.items() if d != q} for q, docs in ranked.items()}
    graded = calculate_retrieval_scores(ranked, relevant, [at], task.skip_first_result)
    return {query: scores[measure] for query, scores in graded.all_scores.items()}


def read_predictions(task: Any, folder: Path) -> Mapping[str, Any] | None:
    """Return a task's predictions, subset -> split -> values, or None where mteb wrote none."""
    file = folder / f"{task.metadata.name}_predictions.json"
    return json.loads(file.read_text()) if file.exists() else None


def name_similarity(metric: str, default: str) -> str:
    """Return the key under which predictions hold the similarity that a metric is made of."""
    return SIMILARITIES.get(metric.split("_")[0], default)


def find_split(task: Any, split: str, subset: str) -> Any:
    """Return the data of a split; a dataset may hold all subsets together."""
    parts = task.dataset[subset] if subset in task.dataset else task.dataset
    return parts[split]


def list_parts(task: Any) -> list[Any]:
    """Return the tasks an aggregate is made of, or a plain task itself."""
    parts = getattr(task.metadata, "tasks", None)
    return [part for task in parts for part in list_parts(task)] if parts else [task]


def set_parts(task: Any, parts: Sequence[Any]) -> None:
    """Give an aggregate other tasks to be made of."""
    task.metadata = task.metadata.model_copy(update={"tasks": list(parts)})
    task.tasks = list(parts)
    index_parts(task, parts)


def index_parts(task: Any, parts: Sequence[Any]) -> None:
    """Let an aggregate find its parts by the names they have now."""
    task.taskname_to_task = {part.metadata.name: part for part in parts}


def find_train_split(task: Any) -> str | None:
    """Return the split that a classifier is trained on, if it is not the one it is scored on."""
    return None if is_cross_validated(task) else find_named_train_split(task)


def is_cross_validated(task: Any) -> bool:
    """Return whether a classifier is trained on parts of the split that it is scored on."""
    return getattr(task, "is_cross_validation", False)


def find_named_train_split(task: Any) -> str | None:
    """Return the split that a task's class names for training, whether it is used or not."""
    return getattr(task, "train_split", None)


def holds_subsets_together(task: Any) -> bool:
    """Return whether a task's dataset may hold all its subsets in one."""
    return getattr(task, "parallel_subsets", False) or getattr(task, "fast_loading", False)


def find_label_column(task: Any) -> str | None:
    """Return the column of classes, or of the numbers that a regression predicts."""
    return getattr(task, "label_column_name", None)


def find_score_column(task: Any) -> str | None:
    """Return the column of human scores."""
    if task.metadata.type == "STS":
        return "score"
    return getattr(task, "relevancy_column_name", None)


def list_needed_columns(task: Any) -> list[str]:
    """Return the columns that a task reads; none where its class does not name them."""
    named = ("column_names", "input_column_name", "input1_column_name", "input2_column_name")
    found = [name for one in named for name in _list_columns(getattr(task, one, ()))]
    found += _list_columns(getattr(task, "label_column_name", ()))
    return [*found, *(["score"] if task.metadata.type == "STS" else [])]


def map_text_columns(task: Any, subset: str) -> dict[str, str]:
    """Return the columns of texts: mteb's name of a side of the data -> the column."""
    if pairs := getattr(task, "_get_pairs", None):  # bitext: two languages, by the subset's name
        parallel = getattr(task, "parallel_subsets", False)
        sides = subset.split("-") if parallel else pairs(False)[0]
        return dict(zip(("sentence1", "sentence2"), sides, strict=False))
    columns = {
        "text1": getattr(task, "input1_column_name", None),
        "text2": getattr(task, "input2_column_name", None),
        "text": getattr(task, "input_column_name", getattr(task, "text_column_name", None)),
        "human_summaries": getattr(task, "human_summaries_column_name", None),
        "machine_summaries": getattr(task, "machine_summaries_column_name", None),
    }
    if task.metadata.type == "STS":
        columns |= dict(zip(("text1", "text2"), task.column_names, strict=False))
    return {name: column for name, column in columns.items() if isinstance(column, str)}


def convert_old_layout(task: Any) -> None:
    """Convert retrieval data of mteb's first layout, as mteb does when it evaluates."""
    if convert := getattr(task, "convert_v1_dataset_format_to_v2", None):
        convert(None)


@contextmanager
def keep_metadata(task: Any) -> Iterator[None]:
    """Restore a task's own metadata after this block: `unload_data` deletes them."""
    own = vars(task).get("metadata")
    try:
        yield
    finally:
        if own is not None:
            task.metadata = own


class AtomicResultCache(ResultCache):
    """mteb's result cache, except that a result file is there whole or not at all."""

    def find_result_file(self, task: str, meta: ModelMeta) -> Path:
        """Return where a task's scores are; `experiment_kwargs` name the folder."""
        return Path(self.get_task_result_path(task_name=task, model_name=meta))

    def save_to_cache(
        self, task_result: TaskResult, model_name: Any, model_revision: Any = None, **_: Any
    ) -> None:
        path = Path(
            self.get_task_result_path(
                model_name=model_name,
                model_revision=model_revision,
                task_name=task_result.task_name,
            )
        )
        write_atomically(path, json.dumps(task_result.to_dict(), indent=2, default=str))
        if isinstance(model_name, ModelMeta):
            meta = json.dumps(model_name.to_dict(), indent=2, default=str)
            write_atomically(path.parent / "model_meta.json", meta)

    def load_task_result(self, *args: Any, **kwargs: Any) -> TaskResult | None:
        """Return a stored result, or None where there is none that can be read."""
        try:
            return super().load_task_result(*args, **kwargs)
        except (ValueError, KeyError):
            return None


def _list_columns(columns: Any) -> list[str]:
    return [columns] if isinstance(columns, str) else [str(column) for column in columns]
