"""Count a task's data in the terms of the statistics that mteb ships.

mteb's own counting (`calculate_descriptive_statistics`) shows progress bars, holds every text of a
corpus and its digest in memory, and has changed over its versions what counts as a sample or as a
unique pair. Here only what all its versions count alike is counted, a thousand rows at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from methods.evaluation.mteb_internals import (
    find_label_column,
    find_score_column,
    find_train_split,
    map_text_columns,
)


@dataclass
class Tally:
    """A number of texts, their lengths, and how many differ."""

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
    """Counts of one split of a subset.

    texts: by mteb's name of a side. judgements: by mteb's name of a group and of a number in it.
    """

    texts: dict[str, Tally] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=list)
    judgements: dict[tuple[str, str], int] = field(default_factory=dict)


def iterate_scored_data(task: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield (split, subset, data) of all that a task's scores depend on, a classifier's training
    split included. Raises ValueError for a split that is missing."""
    dataset = task.dataset
    apart = [subset for subset in task.hf_subsets if subset in dataset]
    train = find_train_split(task)
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
    """Return the counts of a split's data; empty ones for an unknown layout."""
    if not hasattr(data, "column_names"):
        return _count_retrieval(data) if _is_retrieval(data) else Counts()
    counts, columns = Counts(), map_text_columns(task, subset)
    counts.texts = {name: Tally() for name in columns}
    label, score = find_label_column(task), find_score_column(task)
    if task.metadata.type == "Regression":
        label, score = None, label
    for batch in iterate_batches(data):
        for name, column in columns.items():
            for text in _flatten(batch.get(column, ())):
                counts.texts[name].add(text if isinstance(text, str) else str(text))
        if label in batch:
            counts.labels.update(str(one) for row in batch[label] for one in _list_labels(row))
        if score in batch:
            counts.scores += [_as_number(value) for value in _flatten(batch[score])]
    return counts


def describe_counts(counts: Counts) -> dict[str, Any]:
    """Return counts of one split in the terms of the statistics that mteb ships."""
    sides = {
        f"{name}_statistics": {
            "total_text_length": tally.characters,
            "min_text_length": tally.shortest,
            "average_text_length": tally.characters / tally.number,
            "max_text_length": tally.longest,
            "unique_texts": len(tally.different),
        }
        for name, tally in counts.texts.items()
        if tally.number
    }
    numbers = [tally.number for tally in counts.texts.values()]
    found: dict[str, Any] = {
        # documents and queries are added up, the two sides of pairs are not
        "num_samples": sum(numbers) if counts.judgements else max(numbers, default=0),
        "number_of_characters": sum(tally.characters for tally in counts.texts.values()),
        **sides,
    }
    if counts.labels:
        labels = {name: {"count": number} for name, number in counts.labels.items()}
        found["label_statistics"] = {"unique_labels": len(labels), "labels": labels}
    if counts.scores:
        average = sum(counts.scores) / len(counts.scores)
        lowest, highest = min(counts.scores), max(counts.scores)
        found["label_statistics"] = {
            "min_score": lowest,
            "avg_score": average,
            "max_score": highest,
        }
    for (group, name), number in counts.judgements.items():
        found.setdefault(group, {})[name] = number
    return found


def _is_retrieval(data: Any) -> bool:
    return isinstance(data, Mapping) and {"corpus", "queries", "relevant_docs"} <= set(data)


def _count_retrieval(data: Any) -> Counts:
    documents, queries = Tally(), Tally()
    for batch in iterate_batches(data["corpus"]):
        titles = batch.get("title") or [""] * len(batch["text"])
        for title, text in zip(titles, batch["text"], strict=True):
            documents.add((f"{title} {text}" if title else str(text)).strip())
    conversations = False
    for batch in iterate_batches(data["queries"]):
        extras = batch.get("instruction") or [None] * len(batch["text"])
        for text, extra in zip(batch["text"], extras, strict=True):
            conversations = conversations or not isinstance(text, str)
            queries.add(f"{text} {extra}" if extra is not None else str(text))
    texts = {"documents_text": documents}
    if not conversations:  # mteb flattens them, so only judgements are compared
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


def iterate_batches(data: Any) -> Iterator[Any]:
    """Yield a dataset as columns, a thousand rows at a time."""
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


def _flatten(values: Iterable[Any]) -> Iterator[Any]:
    """Yield values, out of the lists that they may be in."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flatten(value)
        else:
            yield value


def _as_number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _list_labels(row: Any) -> list[Any]:
    """Return the labels of a row; an empty list of labels counts as one label, None."""
    if not isinstance(row, list | tuple):
        return [row]
    return list(_flatten(row)) or [None]
