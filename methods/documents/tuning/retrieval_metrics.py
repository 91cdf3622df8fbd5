"""Rank documents, and score a ranking as sentence-transformers' InformationRetrievalEvaluator.

For each question, with R its relevant documents and the first k of the ranking:

    hit@k        1 if one of them is relevant (LlamaIndex' hit rate, the evaluator's accuracy)
    precision@k  the share of the k that is relevant;  recall@k: the share of R that is among them
    mrr@10       1 / the rank of the first relevant one among ten, else 0
    ndcg@10      sum of 1 / log2(1 + rank) of the relevant among ten, over its largest value
    map@100      precision at each relevant one's rank among a hundred, summed, over min(100, |R|)

Documents that score alike are ranked by their ids, as there.

Q questions, N documents, D dimensions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

DEPTH = 100  # documents of a ranking that are scored
CUTOFFS = (1, 3, 5, 10)
METRICS = (
    *(f"{name}@{k}" for name in ("hit", "precision", "recall") for k in CUTOFFS),
    *("mrr@10", "ndcg@10", "map@100"),
)
MAIN = "ndcg@10"


def rank_documents(
    scores_QN: np.ndarray, ids: Sequence[str], *, depth: int = DEPTH, above: float | None = None
) -> list[list[str]]:
    """Return the ids of each question's best documents, the best first.

    above: documents that score no more than this are not found at all (BM25's without a word in
    common).
    """
    order_N = np.argsort(np.argsort(np.array(ids, dtype=object), kind="stable"), kind="stable")
    found = []
    for scores_N in scores_QN:
        best = np.lexsort((order_N, -scores_N))[:depth]
        found.append([ids[n] for n in best if above is None or scores_N[n] > above])
    return found


def rank_vectors(
    queries_QD: np.ndarray, documents_ND: np.ndarray, ids: Sequence[str]
) -> list[list[str]]:
    """Return the ids of the documents nearest to each question, of unit vectors."""
    return rank_documents(queries_QD @ documents_ND.T, ids)


def score_question(ranked: Sequence[str], relevant: Collection[str]) -> dict[str, float]:
    """Return every metric of one question, between 0 and 1. relevant: at least one id."""
    right = np.array([id in relevant for id in ranked[:DEPTH]], dtype=float)
    right = np.pad(right, (0, DEPTH - len(right)))
    hits = right.cumsum()
    scores: dict[str, float] = {}
    for k in CUTOFFS:
        scores[f"hit@{k}"] = float(hits[k - 1] > 0)
        scores[f"precision@{k}"] = hits[k - 1] / k
        scores[f"recall@{k}"] = hits[k - 1] / len(relevant)
    first = int(right.argmax()) + 1 if right[:10].any() else 0
    scores["mrr@10"] = 1 / first if first else 0.0
    gains = 1 / np.log2(np.arange(2, 12))
    scores["ndcg@10"] = float((right[:10] * gains).sum() / gains[: min(len(relevant), 10)].sum())
    precision = right * hits / np.arange(1, DEPTH + 1)
    scores["map@100"] = float(precision.sum() / min(len(relevant), DEPTH))
    return {name: float(scores[name]) for name in METRICS}


def score_rankings(
    ranked: Mapping[str, Sequence[str]], relevant: Mapping[str, Collection[str]]
) -> dict[str, dict[str, float]]:
    """Return every metric of each question, by its id."""
    return {id: score_question(ranked[id], own) for id, own in relevant.items()}


def average_scores(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return each metric's mean over questions."""
    return {name: float(np.mean([one[name] for one in scores.values()])) for name in METRICS}
