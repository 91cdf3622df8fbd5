"""Measure the score from which a passage counts as relevant, for an encoder and its documents.

Cosines of one encoder mean nothing to another, so the threshold is measured on the index itself,
between two kinds of question whose right outcome is known:

- unrelated: the best score of each question of unrelated.txt (cooking, history, sports ...), which
  the documents do not answer;
- own: for some passages, a sentence is taken out, and the passage is encoded without it; the best
  score of that sentence, with this passage in place of the whole one, is one to be found.

The threshold is where fewest of both fall on the wrong side. What it cannot know: a question of the
documents' own field that they do not answer scores higher than an unrelated one and may pass.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from methods.documents.passage import Passage
from methods.documents.vectors import encode_passages, encode_questions

if TYPE_CHECKING:
    from methods.documents.index import Index

UNRELATED = Path(__file__).with_name("unrelated.txt")
OWN = 64  # passages that a sentence is taken out of
DRAWN = 1024  # passages that are looked at for them
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
SEED = 0


@dataclass(frozen=True)
class Relevance:
    """The threshold, and its errors on what it was measured on.

    unrelated, own: how many questions of each kind. passed: the share of unrelated ones at or above
    the threshold; missed: of own ones below it. state: of the documents it was measured on.
    """

    threshold: float
    unrelated: int
    passed: float
    own: int
    missed: float
    state: str

    def describe(self) -> str:
        """Return the threshold and its errors in words."""
        told = f"relevant from a score of {self.threshold:.3f}: {self.passed:.0%} of "
        told += f"{self.unrelated} unrelated questions score more"
        if self.own:
            told += f", {self.missed:.0%} of {self.own} sentences of the documents less"
        if self.passed + self.missed > 0.5:
            told += "; this encoder hardly tells them apart, so choose another, or trust no score"
        return told


def measure_relevance(index: Index, *, state: str) -> Relevance:
    """Measure the threshold of an index."""
    unrelated = UNRELATED.read_text(encoding="utf-8").split("\n")
    unrelated = [line for line in unrelated if line]
    strange_N = _find_best(index, encode_questions(index.encoder, unrelated), None, None)
    own_M = _score_own(index)
    threshold = choose_threshold(strange_N, own_M)
    passed = float((strange_N >= threshold).mean())
    missed = float((own_M < threshold).mean()) if len(own_M) else 0.0
    return Relevance(threshold, len(strange_N), passed, len(own_M), missed, state)


def choose_threshold(unrelated_N: np.ndarray, own_M: np.ndarray) -> float:
    """Return the score with the fewest errors of both kinds, halfway to the next score below.

    Without own questions: the score that one in twenty unrelated ones reaches.
    """
    if not len(own_M):
        return float(np.quantile(unrelated_N, 0.95))
    scores = np.unique(np.concatenate([unrelated_N, own_M]))
    scores = np.append(scores, scores[-1] + 1e-3)
    errors = [(unrelated_N >= s).mean() + (own_M < s).mean() for s in scores]
    best = len(scores) - 1 - int(np.argmin(errors[::-1]))  # the highest: an encoder may be blind
    below = scores[best - 1] if best else scores[best]
    return float((scores[best] + below) / 2)


def _score_own(index: Index) -> np.ndarray:
    """Return the best score of each sentence that was taken out of a passage."""
    places = index.list_places()
    drawn = random.Random(SEED).sample(places, min(DRAWN, len(places)))
    chosen: list[tuple[tuple[int, int], Passage, str]] = []
    for place, passage in zip(drawn, index.fetch(drawn), strict=True):
        if len(chosen) == OWN:
            break
        if sentence := choose_sentence(passage.text):
            chosen.append((place, passage, sentence))
    if not chosen:
        return np.empty(0, np.float32)
    questions_MD = encode_questions(index.encoder, [sentence for _, _, sentence in chosen])
    without = [replace(p, text=p.text.replace(sentence, "")) for _, p, sentence in chosen]
    vectors_MD = encode_passages(index.encoder, without)
    return _find_best(index, questions_MD, [place for place, _, _ in chosen], vectors_MD)


def choose_sentence(text: str) -> str | None:
    """Return the longest sentence of a text, if it is one of several and is prose."""
    paragraphs = [p for p in re.split(r"\n\s*\n", text) if not p.startswith((" ", "|", "`", "#"))]
    sentences = [s for paragraph in paragraphs for s in SENTENCE.split(paragraph.strip())]
    prose = [s for s in sentences if 5 <= len(s.split()) <= 40]
    return max(prose, key=len) if len(prose) > 1 else None


def _find_best(
    index: Index,
    questions_QD: np.ndarray,
    own: Sequence[tuple[int, int]] | None,
    own_QD: np.ndarray | None,
) -> np.ndarray:
    """Return the best score of each question. own: for each, the passage to leave out, in whose
    place `own_QD` has a vector."""
    best_Q = np.full(len(questions_QD), -1.0, np.float32)
    if own_QD is not None:
        best_Q = np.einsum("qd,qd->q", questions_QD, own_QD)
    for number, rows, vectors_ND in index.iterate_blocks():
        scores_QN = questions_QD @ vectors_ND.T
        for at, (segment, row) in enumerate(own or ()):
            if segment == number:
                scores_QN[at, rows == row] = -1.0
        best_Q = np.maximum(best_Q, scores_QN.max(axis=1))
    return best_Q
