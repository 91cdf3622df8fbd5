"""Measure how far two sets of vectors agree: cosines, ranks of similarities, neighbours.

N texts, D hidden size.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """How far two encoders agree on some texts; NaN for what cannot be computed.

    mean_cosine, min_cosine: of a text's two vectors; at: the text with the smallest. spearman,
    kendall: of the similarities that each finds between all pairs of texts. neighbours: the share
    of a text's `nearest` nearest texts that both find. zeros: texts with a vector of zeros.
    """

    mean_cosine: float
    min_cosine: float
    at: int | None
    spearman: float
    kendall: float
    neighbours: float
    nearest: int
    zeros: int


def measure_agreement(a_ND: np.ndarray, b_ND: np.ndarray, *, nearest: int = 10) -> Agreement:
    """Measure how far two encoders' vectors of the same texts agree.

    Their dimensions may differ: then there are no cosines, and the rest compares within each.
    nearest: fewer are compared where texts are few, at most half of the others.
    """
    cosines_N = compute_cosines(a_ND, b_ND)
    usable = (_norms(a_ND) > 0) & (_norms(b_ND) > 0)
    known = np.isfinite(cosines_N)
    a_NN, b_NN = (_similarities(vectors[usable]) for vectors in (a_ND, b_ND))
    spearman, kendall = _correlate(a_NN, b_NN)
    number = min(nearest, max((len(a_NN) - 1) // 2, 1))
    return Agreement(
        mean_cosine=float(cosines_N[known].mean()) if known.any() else float("nan"),
        min_cosine=float(cosines_N[known].min()) if known.any() else float("nan"),
        at=int(np.where(known, cosines_N, np.inf).argmin()) if known.any() else None,
        spearman=spearman,
        kendall=kendall,
        neighbours=_share_neighbours(a_NN, b_NN, number),
        nearest=number,
        zeros=int((~usable).sum()),
    )


def compute_cosines(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    """Return each row's cosine [N]; NaN for a vector of zeros and where dimensions differ."""
    if a_ND.shape != b_ND.shape:
        return np.full(len(a_ND), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        a_ND, b_ND = a_ND.astype(np.float64), b_ND.astype(np.float64)
        return (a_ND * b_ND).sum(-1) / (_norms(a_ND) * _norms(b_ND))


def _norms(vectors_ND: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors_ND.astype(np.float64), axis=-1)


def _similarities(vectors_ND: np.ndarray) -> np.ndarray:
    unit_ND = vectors_ND.astype(np.float64) / _norms(vectors_ND)[:, None]
    return unit_ND @ unit_ND.T


def _correlate(a_NN: np.ndarray, b_NN: np.ndarray) -> tuple[float, float]:
    """Return Spearman's and Kendall's correlation over all pairs of texts."""
    from scipy import stats

    pairs = np.triu_indices(len(a_NN), 1)
    if len(pairs[0]) < 2:
        return float("nan"), float("nan")
    # Rounding must not put texts that are equal into an order.
    a, b = (np.round(one[pairs], 6) for one in (a_NN, b_NN))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        spearman, kendall = stats.spearmanr(a, b), stats.kendalltau(a, b)
    return float(spearman.statistic), float(kendall.statistic)  # pyright: ignore


def _share_neighbours(a_NN: np.ndarray, b_NN: np.ndarray, number: int) -> float:
    if len(a_NN) < 3:  # whose only neighbour is the other
        return float("nan")
    shares = []
    for row in range(len(a_NN)):
        found = []
        for similarities in (a_NN, b_NN):
            one = np.round(similarities[row], 6)
            one[row] = -np.inf
            found.append(set(np.argsort(-one, kind="stable")[:number].tolist()))
        shares.append(len(found[0] & found[1]) / number)
    return float(np.mean(shares))
