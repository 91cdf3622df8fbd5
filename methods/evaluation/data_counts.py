"""Counts of a task's data, in the terms of the statistics that mteb ships.

mteb's own counting (`calculate_descriptive_statistics`) draws progress bars, holds every text of a
corpus and its digest, and over its versions has changed what it counts as a sample or as a unique
pair. Counted here is what all its versions count alike; one pass, a thousand rows at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from methods.evaluation.mirrors import needed_for_training


@dataclass
class Tally:
    """How many texts there are, their lengths, and how many differ."""

    number: int = 0
    characters: int = 0
    shortest: float = math.inf
    longest: int = 0
    different: set[int] = field(default_factory=set)

    def add(self, text: str) -> None:
        length = len(text)
        self.number += 1
        self.characters += length
        self.shortest = min(self.shortest, length)
        self.longest = max(self.longest, length)
        self.different.add(hash(text))


@dataclass
class Counts:
    """What there is of a split of a subset.

    texts: by mteb's name of a side. judgements: by mteb's name of a group and of a number in it.
    """

    texts: dict[str, Tally] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=list)
    judgements: dict[tuple[str, str], int] = field(default_factory=dict)


def scored_data(task: Any) -> Iterator[tuple[str, str, Any]]:
    """(split, subset, data) of all that a task's scores depend on, a classifier's training split
    among it. Raises ValueError for a split that is not there."""
    dataset = task.dataset
    apart = [subset for subset in task.hf_subsets if subset in dataset]
    train = needed_for_training(task)
    for subset in apart or task.hf_subsets:  # bitext may hold all languages as columns of one
        parts = dataset[subset] if apart else dataset
        splits: list[str] = [*task.eval_splits, *([train] if train else [])]
        for split in dict.fromkeys(splits):
            if split not in parts:
                raise ValueError(
                    f"{task.metadata.name} has no split {split}; its data has "
                    f"{', '.join(map(str, parts))}"
                )
            yield split, subset, parts[split]


def count_data(task: Any, data: Any, subset: str) -> Counts:
    """The counts of a split's data; empty ones for a layout that is not known."""
    if not hasattr(data, "column_names"):
        return _count_retrieval(data) if _is_retrieval(data) else Counts()
    counts, columns = Counts(), _text_columns(task, subset)
    counts.texts = {name: Tally() for name in columns}
    label = getattr(task, "label_column_name", None)
    score = "score" if task.metadata.type == "STS" else getattr(task, "relevancy_column_name", None)
    if task.metadata.type == "Regression":
        label, score = None, label
    for batch in batches(data):
        for name, column in columns.items():
            for text in _flat(batch.get(column, ())):
                counts.texts[name].add(text if isinstance(text, str) else str(text))
        if label in batch:
            counts.labels.update(str(one) for row in batch[label] for one in _labels(row))
        if score in batch:
            counts.scores += [_as_number(value) for value in _flat(batch[score])]
    return counts


def _text_columns(task: Any, subset: str) -> dict[str, str]:
    """mteb's name of a side of the data -> its column."""
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


def _is_retrieval(data: Any) -> bool:
    return isinstance(data, Mapping) and {"corpus", "queries", "relevant_docs"} <= set(data)


def _count_retrieval(data: Any) -> Counts:
    documents, queries = Tally(), Tally()
    for batch in batches(data["corpus"]):
        titles = batch.get("title") or [""] * len(batch["text"])
        for title, text in zip(titles, batch["text"], strict=True):
            documents.add((f"{title} {text}" if title else str(text)).strip())
    conversations = False
    for batch in batches(data["queries"]):
        extras = batch.get("instruction") or [None] * len(batch["text"])
        for text, extra in zip(batch["text"], extras, strict=True):
            conversations = conversations or not isinstance(text, str)
            queries.add(f"{text} {extra}" if extra is not None else str(text))
    texts = {"documents_text": documents}
    if not conversations:  # mteb flattens them; here only the judgements tell
        texts["queries_text"] = queries
    judged = data["relevant_docs"]
    judgements = {
        ("relevant_docs_statistics", "num_relevant_docs"): sum(
            grade != 0 for documents in judged.values() for grade in documents.values()
        ),
        ("relevant_docs_statistics", "unique_relevant_docs"): len(
            {document for documents in judged.values() for document in documents}
        ),
    }
    if ranked := data.get("top_ranked"):
        number = sum(len(candidates or ()) for candidates in ranked.values())
        judgements["top_ranked_statistics", "num_top_ranked"] = number
    return Counts(texts, judgements=judgements)


def batches(data: Any) -> Iterator[Any]:
    """A dataset, a thousand rows at a time, as columns."""
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """Values, out of the lists that they may lie in."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


def _as_number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _labels(row: Any) -> list[Any]:
    """The labels of a row; a row of several that has none counts as one label, None."""
    if not isinstance(row, list | tuple):
        return [row]
    return list(_flat(row)) or [None]
