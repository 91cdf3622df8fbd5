"""Find by their numbers what a pooling weighs each state with, whatever its code calls it.

L tokens of a row, D hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def find_pooling(
    hidden_LD: np.ndarray, pooled_D: np.ndarray, masks: Sequence[Sequence[bool]], *, near: float
) -> tuple[str, np.ndarray] | None:
    """Return the name of a pooling and its weights [L], or None where none here gives the vector.

    masks: positions that may be pooled, the likeliest mask first; the whole row is tried too, then
    every single position, and means over every end of the row. near: the largest difference, over
    the vector's largest value.
    """
    if hidden_LD.ndim != 2 or not len(hidden_LD) or hidden_LD.shape[1:] != pooled_D.shape:
        return None
    states, target = hidden_LD.astype(np.float64), pooled_D.astype(np.float64)
    scale = np.abs(target).max() or 1.0
    tried = [np.asarray(mask, bool) for mask in masks if len(mask) == len(states)]
    for mask in [*tried, np.ones(len(states), bool)]:
        for name, weights in _list_poolings(mask):
            if np.abs(weights @ states - target).max() <= near * scale:
                return name, weights
        if mask.any() and np.abs(states[mask].max(0) - target).max() <= near * scale:
            return "max", mask.astype(np.float64)
    return _find_single(states, target, near * scale) or _find_end(states, target, near * scale)


def _list_poolings(mask: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the usual poolings over a mask by name, with their weights."""
    places = np.flatnonzero(mask)
    if not len(places):
        return
    for name, place in (("last", places[-1]), ("first", places[0])):
        yield name, np.eye(1, len(mask), place)[0]
    yield "mean", mask / len(places)
    for name, ranks in (
        ("weighted_mean", np.cumsum(mask) * mask),
        ("weighted_mean by the place in the row", np.arange(1, len(mask) + 1) * mask),
    ):
        yield name, ranks / ranks.sum()
    yield "mean_sqrt_len_tokens", mask / np.sqrt(len(places))


def _find_single(
    states: np.ndarray, target: np.ndarray, limit: float
) -> tuple[str, np.ndarray] | None:
    apart = np.abs(states - target).max(1)
    place = int(apart.argmin())
    return ("one token", np.eye(1, len(states), place)[0]) if apart[place] <= limit else None


def _find_end(
    states: np.ndarray, target: np.ndarray, limit: float
) -> tuple[str, np.ndarray] | None:
    """Find a mean over the last tokens of the row, however many, as where a prompt is left out."""
    L = len(states)
    places, counts = np.arange(1, L + 1), np.arange(L, 0, -1)
    sums, by_place = (_sum_ends(one) for one in (states, states * places[:, None]))
    by_rank = by_place - sums * (places - 1)[:, None]  # ranks count from each end's first token
    ends = {
        "mean": sums / counts[:, None],
        "weighted_mean": by_rank / (counts * (counts + 1) / 2)[:, None],
        "weighted_mean by the place in the row": by_place / _sum_ends(places)[:, None],
    }
    for name, means in ends.items():
        apart = np.abs(means - target).max(1)
        start = int(apart.argmin())
        if apart[start] <= limit:
            mask = np.arange(L) >= start
            return name, dict(_list_poolings(mask))[name]
    return None


def _sum_ends(values: np.ndarray) -> np.ndarray:
    """Return for every position the sum from there to the last."""
    return values[::-1].cumsum(0)[::-1]
