"""Recompute the activations of a layer in the backward pass instead of holding them all.

That is transformers' gradient checkpointing. A layer is recomputed long after its pass has ended,
on a card in another thread, where neither the packed batch nor the model's attention is set any
more: both are set again around each recomputation.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from torch import nn

from methods.backbone.attention import attention_mode, read_attention
from methods.backbone.packed import get_batch, packed_mode


def recompute_layers(model: Any) -> None:
    """Let a model recompute its layers in training mode. Raises ValueError where it cannot."""
    # Its first name, which transformers 6 will not have.
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable({"use_reentrant": False, "context_fn": partial(_make_contexts, model)})


def _make_contexts(model: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Return the contexts of a layer's pass, and of its recomputation; called within the pass."""
    batch = get_batch()
    if batch is not None:
        return nullcontext(), packed_mode(model, batch)
    return nullcontext(), attention_mode(model, read_attention(model))
