"""The query adapter starts at the identity, learns a rotation, and is dropped where it hurts."""

import numpy as np

from methods.documents.tuning.query_adapter import apply_matrix, train_query_adapter


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def draw(seed):
    """Documents, and queries that are the same in another basis, near to the first."""
    random = np.random.default_rng(seed)
    documents = unit(random.normal(size=(60, 8)))
    turn, _ = np.linalg.qr(np.eye(8) + 0.25 * np.random.default_rng(9).normal(size=(8, 8)))
    return documents, unit(documents @ turn * np.sign(np.diag(turn)))


def measure(queries, documents):
    def score(matrix):
        scores = apply_matrix(queries, matrix) @ documents.T
        own = scores[np.arange(len(queries)), np.arange(len(queries))]
        return -float((scores > own[:, None]).sum(axis=1).mean())  # the fewer above, the better

    return score


def test_a_rotation_is_learnt():
    documents, queries = draw(1)
    held_documents, held_queries = draw(2)
    score = measure(held_queries, held_documents)
    adapter = train_query_adapter(queries, documents, np.arange(60), score)
    assert adapter.before == score(np.eye(8, dtype=np.float32)) < adapter.after
    assert adapter.steps and f"{adapter.steps} steps" in adapter.describe()
    assert score(adapter.matrix_DD) == adapter.after
    assert np.allclose(np.linalg.norm(adapter.apply(held_queries), axis=1), 1, atol=1e-6)


def test_the_identity_stays_where_no_step_improves():
    documents, queries = draw(1)
    adapter = train_query_adapter(queries, documents, np.arange(60), lambda matrix: 0.5)
    assert adapter.steps == 0 and "identity" in adapter.describe()
    assert (adapter.matrix_DD == np.eye(8)).all()
    assert np.allclose(adapter.apply(queries), queries, atol=1e-6)
