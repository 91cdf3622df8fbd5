"""Run one forward pass and hand over the states of the requested layers while it goes on.

Hooks take them, so that no more than one layer is held, no language-model head runs, and no layer
above the deepest requested one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from torch import Tensor, nn

from methods.backbone.structure import find_decoder_layers

Take = Callable[[int, Tensor], None]  # what is done with a layer's states


class _DeepEnough(Exception):
    """Raised after the deepest requested layer, to end the forward pass."""


def run_layers(model: Any, layers: Sequence[int], *, take: Take, **what: Any) -> None:
    """Run one forward pass; hand each layer's states over, as the model shapes them."""
    deepest = max(layers) if -1 not in layers else None
    with ExitStack() as stack:
        for layer in layers:
            if layer != -1:
                stack.callback(_hook_layer(model, layer, take, layer == deepest).remove)
        with suppress(_DeepEnough):
            take(-1, model(**what, use_cache=False).last_hidden_state)


def _hook_layer(model: Any, layer: int, take: Take, deepest: bool) -> Any:
    """Hook the input of decoder layer number `layer` + 1, which is the states after `layer`."""

    def read(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        take(layer, args[0] if args else kwargs["hidden_states"])
        if deepest:
            raise _DeepEnough

    return find_decoder_layers(model)[layer].register_forward_pre_hook(read, with_kwargs=True)
