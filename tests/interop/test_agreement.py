"""How far vectors agree, in numbers worked out by hand, and where there is nothing to compute."""

import math

import numpy as np
import pytest

from methods.interop.agreement import measure_agreement


def turn(degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_cosines_ranks_and_neighbours_are_those_worked_out_by_hand():
    one = measure_agreement(turn([0, 10, 30, 90]), 3 * turn([0, 10, 30, 30]), nearest=1)
    assert one.mean_cosine == pytest.approx((3 + 0.5) / 4) and one.at == 3
    assert one.min_cosine == pytest.approx(0.5) and one.zeros == 0
    # Pairs by their angle: A 10 30 90 20 80 60, B 10 30 30 20 20 0. Nearest: A 1 0 1 2, B 1 0 3 2.
    assert one.neighbours == pytest.approx(3 / 4) and one.nearest == 1
    assert one.spearman == pytest.approx(6.5 / (17.5 * 16.5) ** 0.5)
    assert one.kendall == pytest.approx(5 / (15 * 13) ** 0.5)  # of 15 pairs 2 are tied in B


def test_the_same_vectors_agree_and_a_turn_of_all_changes_cosines_alone():
    vectors = np.random.default_rng(0).normal(size=(30, 8))
    same = measure_agreement(vectors, vectors)
    assert (same.mean_cosine, same.spearman, same.kendall) == pytest.approx((1, 1, 1))
    assert same.neighbours == 1 and same.nearest == 10
    turned = measure_agreement(vectors, vectors[:, ::-1])
    assert turned.mean_cosine < 0.9 and turned.spearman == pytest.approx(1)
    smaller = measure_agreement(vectors, vectors[:, :4])
    assert math.isnan(smaller.mean_cosine) and 0 < smaller.spearman < 1


@pytest.mark.parametrize(
    "vectors",
    [np.ones((1, 3)), np.zeros((3, 2)), np.ones((2, 3)), np.array([[1, 0], [0, 0], [1, 1]])],
)
def test_one_text_zero_vectors_and_equal_ones_give_no_error(vectors):
    found = measure_agreement(vectors, vectors)
    assert found.zeros == int((~vectors.any(axis=1)).sum())
    assert math.isnan(found.spearman) and math.isnan(found.neighbours)
    assert math.isnan(found.min_cosine) or found.min_cosine == pytest.approx(1)
