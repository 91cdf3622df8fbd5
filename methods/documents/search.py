"""Search an index: the passages nearest to a question, with their scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from methods.documents.index import Index
from methods.documents.passage import Passage
from methods.documents.vectors import encode_questions

TOP = 3


@dataclass(frozen=True)
class Hit:
    """A passage that was found. number: from 1, the nearest. score: cosine with the question."""

    number: int
    score: float
    passage: Passage


@dataclass(frozen=True)
class Found:
    """What a question found. hits: the nearest passages, whether relevant or not."""

    question: str
    hits: list[Hit]
    threshold: float

    @property
    def relevant(self) -> list[Hit]:
        """Return the hits at or above the threshold; none means that nothing relevant is there."""
        return [hit for hit in self.hits if hit.score >= self.threshold]


def search(
    index: Index,
    question: str,
    *,
    top: int = TOP,
    threshold: float | None = None,
    instruction: str | None = None,
) -> Found:
    """Find the passages nearest to a question, by the index's encoder.

    top: how many. threshold: a cosine; None for the one measured on the documents.
    instruction: for a method that uses one, in place of this room's.
    """
    if top < 1:
        raise ValueError(f"top is {top}; it is a number of passages, 1 or more")
    if not question.strip():
        raise ValueError("the question is empty")
    vectors_1D = encode_questions(index.encoder, [question.strip()], instruction=instruction)
    (places,) = find_nearest(index, vectors_1D, top)
    passages = index.fetch([place for place, _ in places])
    hits = [
        Hit(number, score, passage)
        for number, (passage, (_, score)) in enumerate(zip(passages, places, strict=True), 1)
    ]
    if threshold is None:
        threshold = -1.0 if index.relevance is None else index.relevance.threshold
    return Found(question, hits, threshold)


def find_nearest(
    index: Index, questions_QD: np.ndarray, top: int
) -> list[list[tuple[tuple[int, int], float]]]:
    """Return, for each question, (segment, row) and score of the `top` nearest, nearest first."""
    best: list[list[tuple[tuple[int, int], float]]] = [[] for _ in questions_QD]
    for number, rows, vectors_ND in index.iterate_blocks():
        scores_QN = questions_QD @ vectors_ND.T
        for at, scores in enumerate(scores_QN):
            first = np.argpartition(-scores, min(top, len(scores)) - 1)[:top]
            best[at] += [((number, int(rows[i])), float(scores[i])) for i in first]
            best[at] = sorted(best[at], key=lambda one: (-one[1], one[0]))[:top]
    return best
