"""Metrics equal those of sentence-transformers' evaluator on the same vectors."""

import numpy as np
import pytest
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from torch import tensor

from methods.documents.tuning.retrieval_metrics import (
    METRICS,
    average_scores,
    rank_documents,
    rank_vectors,
    score_question,
    score_rankings,
)


class Given:
    """A model of given vectors, as the evaluator takes it."""

    similarity_fn_name = "dot"

    def __init__(self, vectors):
        self.vectors, self.model_card_data = vectors, None

    def encode(self, texts, **_):
        return tensor(np.stack([self.vectors[text] for text in texts]))

    encode_query = encode_document = encode

    def similarity(self, first, second):
        return first @ second.T


def draw(number, seed, levels):
    """Vectors of few distinct values, whose products are exact and often equal."""
    return np.random.default_rng(seed).integers(0, levels, (number, 4)).astype(np.float32)


@pytest.mark.parametrize(("documents", "levels"), [(300, 3), (300, 1000), (7, 2)])
def test_every_metric_equals_the_evaluators(documents, levels, monkeypatch):
    evaluator = InformationRetrievalEvaluator
    monkeypatch.setattr(evaluator, "store_metrics_in_model_card_data", lambda *_: None)
    random = np.random.default_rng(1)
    ids = [f"d{number}" for number in random.permutation(documents)]
    queries = [f"q{number}" for number in range(20)]
    vectors = dict(zip(queries, draw(20, 2, levels), strict=True))
    vectors |= dict(zip(ids, draw(documents, 3, levels), strict=True))
    relevant = {q: set(random.choice(ids, random.integers(1, 6), replace=False)) for q in queries}
    found = evaluator({q: q for q in queries}, {d: d for d in ids}, relevant)(Given(vectors))
    ranked = rank_vectors(
        np.stack([vectors[q] for q in queries]), np.stack([vectors[d] for d in ids]), ids
    )
    own = average_scores(score_rankings(dict(zip(queries, ranked, strict=True)), relevant))
    theirs = {name.removeprefix("dot_"): value for name, value in found.items()}
    assert {name.replace("hit", "accuracy") for name in own} == set(theirs)
    for name in METRICS:
        assert own[name] == pytest.approx(theirs[name.replace("hit", "accuracy")], abs=1e-12), name


def test_a_question_by_hand():
    scores = score_question(["a", "b", "c"], {"b", "x"})
    assert scores["hit@1"] == 0 and scores["hit@3"] == scores["hit@10"] == 1
    assert scores["recall@5"] == 0.5 and scores["precision@5"] == 0.2
    assert scores["mrr@10"] == 0.5 and scores["map@100"] == 0.25
    best = 1 + 1 / np.log2(3)
    assert scores["ndcg@10"] == pytest.approx(1 / np.log2(3) / best)
    assert set(score_question([], {"a"}).values()) == {0.0}


def test_equal_scores_are_ranked_by_id_and_those_without_a_word_are_not_found():
    scores_QN = np.array([[0.0, 2.0, 2.0, 1.0]])
    assert rank_documents(scores_QN, ["a", "d", "c", "b"]) == [["c", "d", "b", "a"]]
    assert rank_documents(scores_QN, ["a", "d", "c", "b"], above=0.0) == [["c", "d", "b"]]
