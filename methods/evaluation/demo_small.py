"""Define the four demo tasks with a third of their texts or fewer, for any laptop.

    DemoReverseDictionarySmall  150 definitions -> 250 entries
    DemoNewsgroupsSmall         8 groups x 12 posts, 30 words
    DemoReutersSmall            8 + 13 texts a class, 20 words
    DemoLeeSmall                50 documents, 35 words, all 1,225 human judgements

Drawn once with seed 0, before any score was seen; the sizes were chosen by the number of tokens
alone. Lee's documents are shortened instead of drawn, since the standard error is of documents.
"""

from __future__ import annotations

import random
from typing import Any

from mteb import TaskMetadata

from methods.data.wordnet import draw_demo_synsets
from methods.evaluation.demo_tasks import (
    DemoLee,
    DemoNewsgroups,
    DemoReuters,
    DemoReverseDictionary,
)


def _rename_small(task: type[Any], about: str) -> TaskMetadata:
    """Return a task's metadata under the name of its small draw."""
    name = f"{task.metadata.name}Small"
    dataset = {**task.metadata.dataset, "path": f"dec2vec/{name}"}
    more = {"name": name, "description": about, "dataset": dataset}
    return task.metadata.model_copy(update=more)


class DemoReverseDictionarySmall(DemoReverseDictionary):
    """Drawn from entries that are no query of the larger task: no query is in both."""

    metadata = _rename_small(
        DemoReverseDictionary,
        "WordNet 3.1 definitions against entries of 250 synsets of words people use",
    )
    queries, entries, seed = 150, 250, 0

    def draw_synsets(self) -> dict[str, tuple[str, str]]:
        """Return entries, id -> (words, definition); the first ones' definitions are queries."""
        spare = list(draw_demo_synsets().items())[DemoReverseDictionary.queries :]
        return dict(random.Random(self.seed).sample(spare, self.entries))


class DemoNewsgroupsSmall(DemoNewsgroups):
    """The same groups, with fewer and shorter posts."""

    metadata = _rename_small(
        DemoNewsgroups,
        "20 Newsgroups, 8 groups x 12 posts, first 30 words, lower-cased without punctuation",
    )
    per_group, words, seed = 12, 30, 0


class DemoReutersSmall(DemoReuters):
    """The same topics, with fewer and shorter newswires."""

    metadata = _rename_small(
        DemoReuters,
        "Reuters R8, 8 + 13 texts a class, first 20 words, lower-cased without punctuation",
    )
    samples_per_label, tested_per_label, words, seed = 8, 13, 20, 0


class DemoLeeSmall(DemoLee):
    """All documents and judgements, each document shortened to its first words."""

    metadata = _rename_small(
        DemoLee,
        "Lee, Pincombe and Welsh (2005): the first 35 words of 50 news documents, all 1,225 pairs, "
        "mean human similarity (of the whole documents)",
    )
    words = 35


SMALL_TASKS: dict[str, type[Any]] = {
    task.metadata.name: task
    for task in (DemoReverseDictionarySmall, DemoNewsgroupsSmall, DemoReutersSmall, DemoLeeSmall)
}
