"""A row of the table: how something ranks the documents for every question."""

from __future__ import annotations

from dataclasses import dataclass

Ranked = dict[str, list[str]]  # a question's id -> ids of documents, the best first
BM25, ZERO_SHOT, ADAPTED, TUNED = "BM25", "zero-shot", "query adapter", "fine-tuned"


@dataclass(frozen=True)
class Row:
    """A row of the table. ranked: by set of questions. seconds: to make it, training included.

    note: what was chosen for it.
    """

    name: str
    ranked: dict[str, Ranked]
    seconds: float
    note: str = ""
    before: float | None = None
