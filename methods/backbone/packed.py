"""Run a model over packed sequences: no padding, and each sequence attends only to itself.

H query heads, T tokens of the packed batch, D head size.

The attention function is registered under a name of ours with transformers' attention interface
when a model is first run packed, and reads the sequences' boundaries from the `PackedBatch` in
force, so no architecture has to pass anything on. No mask function is registered under that name:
then transformers makes no mask, and does not read the positions back from the device either.

What an architecture needs beyond this (attention sinks, position biases, chunks, masks of its own)
raises `CannotPack`; packing_probe.py tests every model at load, and one that cannot is padded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from methods.backbone.attention import attention_mode, list_configs
from methods.backbone.flash import attend_flash
from methods.backbone.kernels import attend_grouped, attend_padded
from methods.backbone.locks import get_lock
from methods.backbone.packed_batch import CannotPack, PackedBatch, Scoring

NAME = "dec2vec_packed"
PASSED_ON = {"position_ids", "cache_position", "position_embeddings"}
_batch: ContextVar[PackedBatch] = ContextVar("packed_batch")


@contextmanager
def packed_mode(model: nn.Module, batch: PackedBatch) -> Iterator[None]:
    """Let a model take its one input row as a packed batch for this block; afterwards it is as
    before.

    Other threads wait for the end of the block before they run this model.
    """
    register_attention()
    with ExitStack() as stack:
        stack.enter_context(get_lock(model))
        before = [(config, config._attn_implementation) for config in list_configs(model)]
        token = _batch.set(batch)
        stack.callback(_batch.reset, token)
        for config, implementation in before:
            stack.callback(setattr, config, "_attn_implementation", implementation)
            config._attn_implementation = NAME
        stack.enter_context(attention_mode(model, batch.attention))
        yield


def get_batch() -> PackedBatch | None:
    """Return the packed batch in force, or None outside of a packed pass."""
    return _batch.get(None)


def register_attention() -> None:
    """Register the packed attention with transformers, once a process and not at import.

    Needs no lock: two threads would register the same functions, the one that is asked for last.
    """
    if NAME not in ALL_ATTENTION_FUNCTIONS:
        AttentionInterface.register(NAME, attend_packed)


def attend_packed(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Return the attention of the packed batch in force, as transformers' attention functions do:
    [1, H, T, D] -> [1, T, H, D]."""
    batch = _batch.get()
    unknown = [n for n, v in more.items() if isinstance(v, Tensor) and n not in PASSED_ON]
    if attention_mask is not None or unknown or query.shape[0] != 1:
        raise CannotPack(f"{type(module).__name__} needs {unknown or 'a mask or rows of its own'}")
    if query.shape[2] != sum(batch.lengths):
        raise CannotPack(f"{type(module).__name__} attends to other tokens than the text's")
    if sliding_window:
        batch.windows.add(sliding_window)
        if batch.prefix_length + max(batch.lengths) <= sliding_window:
            sliding_window = None
    if batch.collected is not None:
        batch.collected[module] = (key[0], value[0])
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scoring = Scoring(scale, sliding_window or None, softcap)
    if batch.layout == "groups":
        attend = attend_grouped
    else:
        attend = attend_padded if batch.layout == "padded" else attend_flash
    return attend(module, query[0], key[0], value[0], batch, scoring)[None], None
