"""Check two encoders' stages of one text against each other; None where one is not known.

L tokens of a row, D hidden size.
"""

from __future__ import annotations

import numpy as np

from methods.interop.agreement import compute_cosines
from methods.interop.alignment import align, trim_padding
from methods.interop.comparison import TOLERANCES, Stage, find_tolerance
from methods.interop.stages import EncoderStages, TextStages


def have_equal_ids(x: TextStages, y: TextStages) -> bool | None:
    if x.ids is None or y.ids is None:
        return None
    mine, theirs = trim_padding(x, y)
    return x.ids[mine] == y.ids[theirs]


def have_equal_masks(x: TextStages, y: TextStages) -> bool | None:
    if x.attended is None or y.attended is None:
        return None
    mine, theirs = trim_padding(x, y)
    a, b = x.attended[mine], y.attended[theirs]
    return a == b if len(a) == len(b) else all(a) == all(b)


def pool_alike(x: TextStages, y: TextStages) -> bool | None:
    """Return whether two rows pool the same tokens with the same weights; at the same places, where
    the rows are the same."""
    if x.weights_L is None or y.weights_L is None or x.ids is None or y.ids is None:
        return None
    mine, theirs = trim_padding(x, y)
    pooled = []
    for one, part in ((x, mine), (y, theirs)):
        weights, ids = one.weights_L[part], one.ids[part]  # pyright: ignore
        places = np.flatnonzero(weights)
        pooled.append(([ids[place] for place in places], weights[places], places.tolist()))
    (ids, weights, places), (other_ids, other_weights, other_places) = pooled
    if ids != other_ids or not np.allclose(weights, other_weights, rtol=1e-3):
        return False
    return places == other_places or not have_equal_ids(x, y)


def compare_weights(a: EncoderStages, b: EncoderStages) -> Stage:
    """Compare the weights that both models have by their samples."""
    if a.samples is None or b.samples is None:
        lacking = " and ".join(side for side, one in (("A", a), ("B", b)) if one.samples is None)
        return Stage("weights", None, None, counts=False, unknown=lacking)
    names = [name for name in a.samples if name in b.samples]
    near = 1e-5 if find_tolerance(a, b) == TOLERANCES["float32"] else 1e-2
    different = []
    for name in names:
        (shape, values), (other_shape, others) = a.samples[name], b.samples[name]
        scale = np.abs(values).max(initial=1e-12)
        if shape != other_shape or np.abs(values - others).max(initial=0) > near * scale:
            different.append(name)
    lacking = [
        f"{name} is only in {of}"
        for of, one, other in (("A", a, b), ("B", b, a))
        for name in (one.samples or {})
        if name not in (other.samples or {})
    ]
    shown = ", ".join([*different[:1], *lacking[:1]]) or None
    total = len(names) + len(lacking)
    return Stage("weights", total - len(different) - len(lacking), total, None, shown, None, False)


def measure_states(x: TextStages, y: TextStages) -> np.ndarray | None:
    """Return the cosine of the hidden states at every token that both rows have."""
    if x.hidden_LD is None or y.hidden_LD is None or x.ids is None or y.ids is None:
        return None
    mine, theirs = trim_padding(x, y)
    found = align(x.ids[mine], y.ids[theirs])
    a_LD = x.hidden_LD[mine][found.a_start :][: found.length]
    b_LD = y.hidden_LD[theirs][found.b_start :][: found.length]
    return compute_cosines(a_LD, b_LD)


def have_near_states(x: TextStages, y: TextStages, tolerance: tuple[float, float]) -> bool | None:
    if x.hidden_LD is None or y.hidden_LD is None:
        return None
    cosines_L = measure_states(x, y)
    if cosines_L is None or not len(cosines_L):
        return False
    return bool((np.nan_to_num(cosines_L, nan=0.0) >= tolerance[0]).all())


def are_near(
    a_D: np.ndarray | None, b_D: np.ndarray | None, tolerance: tuple[float, float]
) -> bool | None:
    """Return whether two vectors have the same direction and length, within the tolerance."""
    if a_D is None or b_D is None:
        return None
    lengths = float(np.linalg.norm(a_D)), float(np.linalg.norm(b_D))
    if a_D.shape != b_D.shape or abs(lengths[0] - lengths[1]) > tolerance[1] * max(lengths):
        return False
    return not any(lengths) or bool(compute_cosines(a_D[None], b_D[None])[0] >= tolerance[0])
