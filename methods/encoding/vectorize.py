"""Turn hidden states into one vector per text: by a method's pooling, or through a trained one.

B rows, L positions, D hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from methods.backbone.trained_pooling import TrainedPooling
from methods.base import Inputs, Method


def embed(
    method: Method, trained: TrainedPooling | None, states: Mapping[int, Tensor], inputs: Inputs
) -> Tensor:
    """Return the vectors [B, D] of a batch, pooled by the method or through a trained pooling.

    Raises ValueError where `pool` returns anything but one vector of floats for each text.
    """

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

    return pool(states[method.layer]) if trained is None else trained(states, pool)


def list_layers(method: Method, trained: TrainedPooling | None) -> list[int]:
    """Return the layers that `embed` needs. Raises ValueError for one a trained pooling ignores."""
    if trained is None:
        return [method.layer]
    if method.layer != -1:
        raise ValueError(
            f"layer={method.layer} has no effect on a trained {trained.spec.kind} pooling, which "
            f"uses layers of its own; use layer=-1"
        )
    return trained.layers
