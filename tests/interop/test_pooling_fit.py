"""A pooling is found by what it gives, whatever made it."""

import numpy as np
import pytest

from methods.interop.pooling_fit import find_pooling

STATES = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
ALL = [True] * 7
TEXT = [False, False, True, True, True, True, False]


def ranks(mask):
    weights = np.cumsum(mask) * mask
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("name", "mask", "weights"),
    [
        ("last", TEXT, np.eye(7)[5]),
        ("first", TEXT, np.eye(7)[2]),
        ("mean", TEXT, np.array(TEXT) / 4),
        ("weighted_mean", TEXT, ranks(TEXT)),
        ("mean_sqrt_len_tokens", TEXT, np.array(TEXT) / 2),
        (
            "weighted_mean by the place in the row",
            TEXT,
            np.arange(1, 8) * TEXT / (3 + 4 + 5 + 6),
        ),
        # not of the mask that is given
        ("last", ALL, np.eye(7)[6]),
        ("one token", ALL, np.eye(7)[4]),
        ("mean", ALL, np.array([0, 0, 0, 0.25, 0.25, 0.25, 0.25])),
        ("weighted_mean", ALL, np.array([0, 0, 0, 0.1, 0.2, 0.3, 0.4])),
        ("mean", TEXT, np.ones(7) / 7),
    ],
)
def test_a_pooling_is_found_with_its_weights(name, mask, weights):
    pooled = (weights @ STATES).astype(np.float32)
    found = find_pooling(STATES, pooled, [mask], near=1e-5)
    assert found is not None and found[0] == name
    assert np.allclose(found[1], weights, atol=1e-6)


def test_the_largest_value_is_found_and_what_no_pooling_gives_is_not():
    found = find_pooling(STATES, STATES[TEXT].max(0), [TEXT], near=1e-5)
    assert found is not None and found[0] == "max" and found[1].tolist() == [float(x) for x in TEXT]
    assert find_pooling(STATES, STATES[0] + 2 * STATES[3], [TEXT], near=1e-5) is None
    assert find_pooling(STATES, np.zeros(3, np.float32), [TEXT], near=1e-5) is None
    assert find_pooling(STATES[:0], STATES[0], [[]], near=1e-5) is None
