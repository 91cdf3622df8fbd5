"""Losses of given vectors, against the papers' formulas written out."""

import math

import pytest
import torch
from torch import nn

from methods.training.losses import ContrastiveLoss, contrastive_loss


@pytest.fixture
def vectors():
    draw = torch.Generator().manual_seed(7)
    return [torch.randn(5, 12, generator=draw, requires_grad=True) for _ in range(3)]


def by_hand(queries, candidates, temperature):
    """-log softmax of cos / t at each query's own candidate, averaged."""
    total = 0.0
    for i, query in enumerate(queries):
        scores = [
            float((query @ c / (query.norm() * c.norm())).detach()) / temperature
            for c in candidates.unbind()
        ]
        total += math.log(sum(math.exp(s) for s in scores)) - scores[i]
    return total / len(queries)


def test_in_batch_negatives_are_info_nce(vectors):
    queries, positives, _ = vectors
    loss = contrastive_loss(queries, positives, temperature=0.05)
    assert loss.item() == pytest.approx(by_hand(queries, positives, 0.05), rel=1e-5)


def test_hard_negatives_of_all_queries_are_candidates(vectors):
    queries, positives, negatives = vectors
    loss = contrastive_loss(queries, positives, negatives, temperature=1 / 50)
    expected = by_hand(queries, torch.cat([positives, negatives]), 1 / 50)  # HardNegativeNLL
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_symmetric_is_the_mean_of_both_directions(vectors):
    queries, positives, _ = vectors
    loss = contrastive_loss(queries, positives, temperature=0.1, symmetric=True)
    both = by_hand(queries, positives, 0.1) + by_hand(positives, queries, 0.1)
    assert loss.item() == pytest.approx(both / 2, rel=1e-5)


class Table(nn.Module):
    """A model whose vectors are its weights."""

    def __init__(self, rows):
        super().__init__()
        self.rows = nn.Parameter(rows)

    def forward(self, features):
        features["sentence_embedding"] = self.rows[features["input_ids"][:, 0]]
        return features


def features(start, stop):
    ids = torch.arange(start, stop)[:, None]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pool_mask": ids >= 0}


@pytest.mark.parametrize("learned", [False, True])
def test_mini_batches_give_the_loss_and_gradient_of_the_whole(vectors, learned):
    found = []
    for mini_batch in (None, 2):
        table = Table(torch.cat([v.detach() for v in vectors]))
        loss = ContrastiveLoss(
            nn.Sequential(table), temperature=0.05, mini_batch=mini_batch, learned=learned
        )
        value = loss([features(0, 5), features(5, 10), features(10, 15)], None)
        value.backward()
        scale = loss.log_scale.grad.item() if learned else 0.0
        found.append((value.item(), table.rows.grad, scale))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)
    assert found[0][2] == pytest.approx(found[1][2], rel=1e-5)


def test_a_learned_temperature_is_a_parameter_and_starts_where_it_is_told(vectors):
    queries, positives, _ = (v.detach() for v in vectors)
    loss = ContrastiveLoss(nn.Sequential(nn.Identity()), temperature=0.07, learned=True)
    assert [name for name, _ in loss.named_parameters()] == ["log_scale"]
    value = loss.calculate_loss([[queries], [positives]])
    assert value.item() == pytest.approx(by_hand(queries, positives, 0.07), rel=1e-5)
    value.backward()
    step = 1e-3
    with torch.no_grad():
        loss.log_scale += step
    higher = loss.calculate_loss([[queries], [positives]]).item()
    assert loss.log_scale.grad.item() == pytest.approx((higher - value.item()) / step, rel=1e-2)
