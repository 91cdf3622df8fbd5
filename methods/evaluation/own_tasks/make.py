"""Make mteb tasks of checked data: a class a kind, a name with a digest, statistics.

A task is called NAME-own-DIGEST, as data of a mirror that are not mteb's. mteb's own cache, result
files and tables know a task by its name alone: with the digest an edited file is another task.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from datasets import Dataset, DatasetDict
from mteb import TaskMetadata
from mteb.abstasks import (
    AbsTaskClassification,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
    AbsTaskSTS,
)

from methods.config.own_tasks import Kind, OwnClass, OwnTask
from methods.encoding.instructions import OWN_DATA, Instructions, is_default
from methods.evaluation.data_counts import count_data, describe_counts
from methods.evaluation.mteb_internals import RetrievalSplitData
from methods.evaluation.own_tasks.classes import make_class_task
from methods.evaluation.own_tasks.contents import Contents, read_contents
from methods.evaluation.whole_clustering import WholeClustering
from methods.provenance import make_portable

# What mteb calls our columns, where it does not call them so.
RENAMED: dict[Kind, dict[str, str]] = {
    "pair_classification": {"label": "labels"},
    "clustering": {"text": "sentences", "label": "labels"},
}


class OwnMetadata(TaskMetadata):
    """mteb's metadata with the statistics of data that mteb does not know."""

    statistics: dict[str, Any] | None = None

    @property
    def descriptive_stats(self) -> Any:
        """The statistics by split, in mteb's terms."""
        return self.statistics


class _OwnData:
    """What the classes below share: a user's data in place of the Hub's.

    own_splits: those that can be scored. own: what records state of the task.
    """

    task_type: str
    main_score: str

    def __init__(self, given: OwnTask, contents: Contents) -> None:
        self.given = given
        base = given.name or make_name(given.place.stem)
        digest = contents.digest(given.instruction)
        prompt = given.instruction
        query: Any = {"query": prompt} if prompt and contents.kind == "retrieval" else prompt
        self.metadata = OwnMetadata(
            name=f"{base}-own-{digest}",
            description=f"{contents.kind} on a user's own data",
            dataset={"path": f"{OWN_DATA}{base}", "revision": f"own-{digest}"},
            type=self.task_type,  # pyright: ignore[reportArgumentType]
            category="t2c" if contents.kind in ("classification", "clustering") else "t2t",
            eval_splits=list(contents.evaluated),
            eval_langs=["und-Zyyy"],  # undetermined, in ISO's terms
            main_score=self.main_score,
            prompt=query,
        )
        super().__init__()
        self.own_splits = contents.splits
        self.fill(contents)
        statistics = {
            split: describe_counts(count_data(self, data, "default"))
            for split, data in self.dataset["default"].items()
        }
        self.metadata = self.metadata.model_copy(update={"statistics": statistics})
        path = make_portable(given.path)
        self.own = {
            "name": base,
            "kind": contents.kind,
            "given": {**given.list_given(), "path": path},
            **contents.facts,
            "samples": {split: one["num_samples"] for split, one in statistics.items()},
        }

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Read the files again after they were freed. Raises ValueError if they have changed."""
        if self.data_loaded:
            return
        contents = read_contents(self.given)
        if f"own-{contents.digest(self.given.instruction)}" != self.metadata.revision:
            raise ValueError(f"{self.given.place} was changed while it was evaluated; run it again")
        self.fill(contents)

    def unload_data(self) -> None:
        """Free the data. mteb's would delete the metadata too, which are the task's own."""
        self.dataset, self.data_loaded = None, False

    def fill(self, contents: Contents) -> None:
        """Hold the data as mteb's class expects them."""
        names = RENAMED.get(contents.kind, {})
        self.dataset: Any = {
            "default": DatasetDict(
                {
                    split: Dataset.from_dict({names.get(c, c): v for c, v in columns.items()})
                    for split, columns in contents.tables.items()
                }
            )
        }
        self.data_loaded = True


class OwnSTS(_OwnData, AbsTaskSTS):
    """Agree with given scores of how similar two texts are."""

    task_type, main_score = "STS", "cosine_spearman"

    def fill(self, contents: Contents) -> None:
        super().fill(contents)
        self.min_score, self.max_score = contents.facts["scale"]


class OwnPairClassification(_OwnData, AbsTaskPairClassification):
    """Tell pairs that belong together from others."""

    task_type, main_score = "PairClassification", "max_ap"


class OwnClassification(_OwnData, AbsTaskClassification):
    """Name a text's class, from eight texts of each class, ten times: mteb's way."""

    task_type, main_score = "Classification", "accuracy"

    def fill(self, contents: Contents) -> None:
        super().fill(contents)
        parts = self.dataset["default"]
        classes = sorted({label for part in parts.values() for label in part["label"]})
        numbers = {label: number for number, label in enumerate(classes)}
        for split, part in parts.items():
            labels = [numbers[label] for label in part["label"]]
            parts[split] = Dataset.from_dict({"text": part["text"], "label": labels})


class OwnClustering(_OwnData, WholeClustering):
    """Group texts by their labels: all of them, once for each of ten seeds."""

    task_type, main_score = "Clustering", "v_measure"


class OwnRetrieval(_OwnData, AbsTaskRetrieval):
    """Find the documents that are relevant to a query."""

    task_type, main_score = "Retrieval", "ndcg_at_10"

    def fill(self, contents: Contents) -> None:
        found = contents.collection
        assert found is not None
        rows = ((name, *texts) for name, texts in found.corpus.items())
        columns = zip(("id", "title", "text"), zip(*rows, strict=True), strict=True)
        corpus = Dataset.from_dict({name: list(values) for name, values in columns})
        self.dataset = {"default": {}}
        for split, judged in found.judged.items():
            texts = [found.queries[query] for query in judged]
            queries = Dataset.from_dict({"id": list(judged), "text": texts})
            self.dataset["default"][split] = RetrievalSplitData(
                corpus=corpus, queries=queries, relevant_docs=dict(judged), top_ranked=None
            )
        self.data_loaded = True


CLASSES: dict[Kind, type[Any]] = {
    "sts": OwnSTS,
    "pair_classification": OwnPairClassification,
    "classification": OwnClassification,
    "clustering": OwnClustering,
    "retrieval": OwnRetrieval,
}


def make_own_task(given: OwnTask | OwnClass) -> Any:
    """Return a task of a user's own, its files read and checked. Raises ValueError."""
    if isinstance(given, OwnClass):
        return make_class_task(given)
    contents = read_contents(given)
    return CLASSES[contents.kind](given, contents)


def make_own_tasks(given: Sequence[OwnTask | OwnClass]) -> list[Any]:
    """Return the tasks of `tasks.own`. Raises ValueError for two that have one name."""
    tasks = [make_own_task(one) for one in given]
    names = [get_own_name(task) for task in tasks]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"two tasks of your own are called {twice[0]}; give one another name: "
            f"tasks.own=[{{path: PATH, name: NAME}}]"
        )
    return tasks


def state_instructions(tasks: Sequence[Any], instructions: Instructions) -> None:
    """Find each task's instruction, and state in a user's own tasks which it is, for their records.

    Raises ValueError for a task that has none.
    """
    for task in tasks:
        found = instructions.find(task.metadata)
        if own := getattr(task, "own", None):
            default = is_default(task.metadata, found)
            task.own = {**own, "instruction": found, "default_instruction": default}


def get_own_name(task: Any) -> str:
    """Return the name that a user knows a task by: of one of their own, without its digest."""
    return getattr(task, "own", {}).get("name", task.metadata.name)


def make_name(stem: str) -> str:
    """Return a file's name as a task's: letters, digits, _ and -."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_-") or "own_task"
