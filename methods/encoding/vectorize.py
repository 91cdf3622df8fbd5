"""Turn hidden states into one vector per text: by a method's pooling, or through a trained one.

B rows, L positions, D hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from torch import Tensor

from methods.backbone.trained_pooling import TrainedPooling
from methods.base import Inputs, Method, pool_inputs


def embed(
    method: Method, trained: TrainedPooling | None, states: Mapping[int, Tensor], inputs: Inputs
) -> Tensor:
    """Return the vectors [B, D] of a batch, pooled by the method or through a trained pooling.

    Raises ValueError where `pool` returns anything but one vector of floats for each text.
    """

    def pool(hidden_BLD: Tensor) -> Tensor:
        return pool_checked(method, hidden_BLD, inputs)

    return pool(states[method.layer]) if trained is None else trained(states, pool)


def pool_checked(method: Method, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
    """Return what a method's `pool` returns: [B, D].

    Raises ValueError for anything but one vector of floats for each text.
    """
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


def _pool_by_mask(self: Any, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
    return pool_inputs(hidden_BLD, inputs, self.pooling)


@cache
def pools_by_mask(method: type[Method]) -> bool:
    """Return whether a method's `pool` is `_pool_by_mask`, docstring and argument names aside.

    Such methods share cached vectors. Bytecode is compared, since a lambda or a class from a
    notebook has no source.
    """
    pool = method.pool
    code, ours = getattr(pool, "__code__", None), _pool_by_mask.__code__
    if code is None or pool.__globals__.get("pool_inputs") is not pool_inputs:
        return False
    constants = set(code.co_consts) - {None, pool.__doc__}
    same = (code.co_code, code.co_names) == (ours.co_code, ours.co_names)
    return same and not constants and not code.co_freevars
