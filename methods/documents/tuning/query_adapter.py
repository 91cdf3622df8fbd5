"""A linear adapter of queries, on frozen vectors: documents need not be encoded again.

A query's vector q becomes q W, scaled to unit length; W starts at the identity. The loss is that of
contrastive training with all training documents as candidates. The learning rate and the number of
steps are chosen on validation questions; if none improves on the identity there, W stays it.

P pairs, N documents, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
STEPS, EVERY = 200, 10
TEMPERATURE = 0.05


@dataclass(frozen=True)
class QueryAdapter:
    """A matrix [D, D] and how it was chosen. scores: validation before and after."""

    matrix_DD: np.ndarray
    rate: float
    steps: int
    before: float
    after: float

    def apply(self, queries_QD: np.ndarray) -> np.ndarray:
        """Return adapted unit vectors of queries."""
        return apply_matrix(queries_QD, self.matrix_DD)

    def describe(self) -> str:
        """Return how it was chosen, for a table."""
        if not self.steps:
            return "no step improved the validation questions: the identity"
        return f"rate {self.rate:g}, {self.steps} steps, chosen on validation questions"


def apply_matrix(queries_QD: np.ndarray, matrix_DD: np.ndarray) -> np.ndarray:
    """Return q W of unit length for each query."""
    adapted = queries_QD @ matrix_DD
    return adapted / np.maximum(np.linalg.norm(adapted, axis=1, keepdims=True), 1e-18)


def train_query_adapter(
    queries_PD: np.ndarray,
    documents_ND: np.ndarray,
    positives_P: np.ndarray,
    validate: Callable[[np.ndarray], float],
) -> QueryAdapter:
    """Train a matrix for each rate and return the best.

    positives_P: the row of each query's document. validate: returns the score of a matrix, higher
    is better, on questions that are not trained on.
    """
    import torch

    queries, documents = torch.tensor(queries_PD), torch.tensor(documents_ND)
    targets = torch.tensor(positives_P)
    identity = np.eye(queries_PD.shape[1], dtype=np.float32)
    before = validate(identity)
    best = QueryAdapter(identity, 0.0, 0, before, before)
    for rate in RATES:
        matrix = torch.tensor(identity, requires_grad=True)
        optimizer = torch.optim.Adam([matrix], lr=rate)
        for step in range(1, STEPS + 1):
            adapted = torch.nn.functional.normalize(queries @ matrix, dim=1)
            loss = torch.nn.functional.cross_entropy(adapted @ documents.T / TEMPERATURE, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % EVERY == 0:
                now = matrix.detach().numpy().copy()
                if (score := validate(now)) > best.after:
                    best = QueryAdapter(now, rate, step, before, score)
    return best
