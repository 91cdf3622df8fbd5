"""Search an index exactly: every vector is compared with each question, block by block."""

from __future__ import annotations

import numpy as np

from methods.documents.index import Index

Place = tuple[int, int]  # of a passage: its segment, its row


def find_nearest(
    index: Index, questions_QD: np.ndarray, top: int
) -> list[list[tuple[Place, float]]]:
    """Return, for each question, (segment, row) and score of the `top` nearest, nearest first."""
    best: list[list[tuple[Place, float]]] = [[] for _ in questions_QD]
    for number, rows, vectors_ND in index.iterate_blocks():
        scores_QN = questions_QD @ vectors_ND.T
        for at, scores in enumerate(scores_QN):
            first = np.argpartition(-scores, min(top, len(scores)) - 1)[:top]
            best[at] += [((number, int(rows[i])), float(scores[i])) for i in first]
            best[at] = sorted(best[at], key=lambda one: (-one[1], one[0]))[:top]
    return best
