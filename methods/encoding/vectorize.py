"""Turn hidden states into one vector per text: by a method's pooling, or through a trained one.

B rows, L positions, D hidden size, N texts, R rows of a text, K layers of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor

from methods.backbone.layers import resolve_layer, resolve_read
from methods.backbone.steering import Steering
from methods.backbone.trained_pooling import TrainedPooling
from methods.base import Inputs, Method, Read, pool_inputs


def embed(
    method: Method,
    trained: TrainedPooling | None,
    states: Mapping[Any, Tensor],
    inputs: Inputs,
    *,
    layers: Sequence[Read],
) -> Tensor:
    """Return the vectors [N, D] of whole texts, pooled by the method or through a trained pooling.

    layers: what `list_layers` returns. Raises ValueError where `pool` or `combine` returns anything
    but one vector of floats for each row or text.
    """
    if trained is not None:
        return pool_rows(method, trained, states, inputs)
    pooled = [pool_checked(method, states[layer], inputs) for layer in layers]
    return combine_checked(method, torch.stack(pooled, dim=1))


def pool_rows(
    method: Method, trained: TrainedPooling | None, states: Mapping[Any, Tensor], inputs: Inputs
) -> Tensor:
    """Return the vectors [B, D] of rows: at the method's layer, or through a trained pooling."""

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


def at_layer(method: Method, read: Read) -> Method:
    """Return a method that pools what is read there, which may be no value of a config."""
    made = copy(method)
    object.__setattr__(made, "layer", read)
    return made


def combine_checked(method: Method, pooled_BKD: Tensor) -> Tensor:
    """Return what a method's `combine` makes of the pooled rows of whole texts: [N, D].

    Raises ValueError for anything but one vector of floats for each text.
    """
    number, rest = divmod(len(pooled_BKD), method.rows_per_text)
    assert not rest, "the rows of a text stay together"
    vectors_ND: Any = method.combine(pooled_BKD.unflatten(0, (number, method.rows_per_text)))
    name, wanted = f"{type(method).__name__}.combine", f"a float tensor [{number}, D]"
    if not isinstance(vectors_ND, Tensor):
        raise ValueError(f"{name} returned {type(vectors_ND).__name__}; it returns {wanted}")
    if vectors_ND.ndim != 2 or len(vectors_ND) != number or not vectors_ND.is_floating_point():
        raise ValueError(
            f"{name} returned {list(vectors_ND.shape)} of {vectors_ND.dtype} for {number} texts; "
            f"it returns {wanted}, one vector for each"
        )
    return vectors_ND


def list_layers(method: Method, trained: TrainedPooling | None, num_layers: int) -> list[Read]:
    """Return the layers that `embed` needs, as `forward` counts them.

    Raises ValueError for a `layer` that the method or a trained pooling ignores, and for several
    rows or layers that a trained pooling would ignore.
    """
    name, own = type(method).__name__, [resolve_read(at, num_layers) for at in method.layers]
    layer = resolve_layer(method.layer, num_layers)
    if trained is None:
        if layer not in (-1, *own):
            raise ValueError(
                f"layer={method.layer} has no effect on {name}, which makes a vector of the layers "
                f"{', '.join(map(str, own))}; use layer=-1"
            )
        return own
    if method.rows_per_text > 1 or len(own) > 1:
        raise ValueError(
            f"{name} makes a vector of {method.rows_per_text} rows and {len(own)} layers, and a "
            f"trained {trained.spec.kind} pooling makes one of a single row; give another method, "
            f"or leave the adapter out"
        )
    if method.layer != -1:
        raise ValueError(
            f"layer={method.layer} has no effect on a trained {trained.spec.kind} pooling, which "
            f"uses layers of its own; use layer=-1"
        )
    return [*trained.layers]


def make_steering(method: Method, num_layers: int) -> Steering | None:
    """Return what a method changes within the pass, or None where it changes nothing.

    Sites above the model's last layer are left out. Raises ValueError where none is left.
    """
    sites = method.sites
    within = [site for site in sites if 0 <= site[1] < num_layers]
    name = type(method).__name__
    if sites and not within:
        raise ValueError(
            f"{name} changes states at {', '.join(f'{kind} {at}' for kind, at in sites)}, and this "
            f"model has the layers 0 to {num_layers - 1}; choose another layer in the method's "
            f"fields"
        )
    return Steering(name, within, method.steer, method.rows_per_text) if within else None


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
