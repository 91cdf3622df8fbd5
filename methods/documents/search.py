"""Search an index: the passages nearest to a question, with their scores."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from methods.documents import approximate
from methods.documents.exact import find_nearest
from methods.documents.index import Index
from methods.documents.passage import Passage
from methods.documents.vectors import encode_questions

log = logging.getLogger(__name__)
TOP = 3
Kind = Literal["auto", "exact", "faiss"]


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
    kind: Kind = "auto",
) -> Found:
    """Find the passages nearest to a question, by the index's encoder.

    top: how many. threshold: a cosine; None for the one measured on the documents.
    instruction: for a method that uses one, in place of this room's. kind: exact compares every
    vector, faiss few of them (approximate.py); auto is exact up to a million passages, and above it
    where FAISS is not installed.
    """
    if top < 1:
        raise ValueError(f"top is {top}; it is a number of passages, 1 or more")
    if not question.strip():
        raise ValueError("the question is empty")
    vectors_1D = encode_questions(index.encoder, [question.strip()], instruction=instruction)
    find = {"exact": find_nearest, "faiss": approximate.find_nearest}[choose_kind(index, kind)]
    (places,) = find(index, vectors_1D, top)
    passages = index.fetch([place for place, _ in places])
    hits = [
        Hit(number, score, passage)
        for number, (passage, (_, score)) in enumerate(zip(passages, places, strict=True), 1)
    ]
    if threshold is None:
        threshold = -1.0 if index.relevance is None else index.relevance.threshold
    return Found(question, hits, threshold)


def choose_kind(index: Index, kind: Kind) -> Kind:
    """Return exact or faiss. Raises ValueError for another kind."""
    if kind not in ("auto", "exact", "faiss"):
        raise ValueError(f"search={kind} is unknown; valid: auto, exact, faiss")
    if kind != "auto":
        return kind
    if len(index) <= approximate.EXACT_ROWS:
        return "exact"
    if approximate.has_faiss():
        return "faiss"
    log.warning(
        "all %d passages are compared with each question; pip install -e '.[faiss]' for a search "
        "that compares few",
        len(index),
    )
    return "exact"
