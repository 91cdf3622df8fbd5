"""From hidden states to one vector a text: what a method pools, or a trained pooler makes of it.

B rows, L positions, D hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from methods.backbone.pooler import Pooler
from methods.base import Inputs, Method


def embed(
    method: Method, pooler: Pooler | None, states: Mapping[int, Tensor], inputs: Inputs
) -> Tensor:
    """Return the vectors [B, D] of a batch: what a method pools of its layer, or a pooler makes of
    it. Raises ValueError where `pool` returns anything but one vector of floats for each text."""

    def pool(hidden_BLD: Tensor) -> Tensor:
        vectors_BD: Any = method.pool(hidden_BLD, inputs)
        name, wanted = f"{type(method).__name__}.pool", f"a float tensor [{len(inputs)}, D]"
        if not isinstance(vectors_BD, Tensor):
            raise ValueError(f"{name} returned {type(vectors_BD).__name__}; it returns {wanted}")
        right = vectors_BD.ndim == 2 and len(vectors_BD) == len(inputs) and vectors_BD.shape[1] > 0
        if not right or not vectors_BD.is_floating_point():
            raise ValueError(
                f"{name} returned {list(vectors_BD.shape)} of {vectors_BD.dtype} for {len(inputs)} "
                f"texts; it returns {wanted}, one vector for each"
            )
        return vectors_BD

    return pool(states[method.layer]) if pooler is None else pooler(states, pool)


def layers_of(method: Method, pooler: Pooler | None) -> list[int]:
    """The layers that `embed` reads. Raises ValueError for a layer that a pooler does not read."""
    if pooler is None:
        return [method.layer]
    if method.layer != -1:
        raise ValueError(
            f"layer={method.layer} and a {pooler.spec.kind} pooler, which reads layers of its own; "
            f"leave layer at -1"
        )
    return pooler.layers
