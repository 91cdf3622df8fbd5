"""Run one forward pass and hand over the states of the requested layers while it goes on.

Hooks take them, so that no more than one layer is held, no language-model head runs, and no layer
above the deepest requested one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any

from torch import Tensor, nn

from methods.backbone.structure import (
    find_decoder_layers,
    find_output_projection,
    find_value_projection,
)
from methods.steering import Read

Take = Callable[[Any, Tensor], None]  # what is done with a layer's states
Hooks = Callable[[Any], AbstractContextManager[None]]


class _DeepEnough(Exception):
    """Raised after the deepest requested layer, to end the forward pass."""


def resolve_layer(layer: int, num_layers: int) -> int:
    """Return a layer as 0 ... N-1 or -1 (after the final norm), which N and -1 both mean."""
    if not -num_layers - 1 <= layer <= num_layers:
        raise ValueError(
            f"layer {layer} is out of range; this model has {num_layers} layers: valid are 0 (the "
            f"embeddings) to {num_layers}, or -1 (after the final norm) down to {-num_layers - 1}"
        )
    layer = layer + num_layers + 1 if layer < 0 else layer
    return -1 if layer == num_layers else layer


def resolve_read(read: Read, num_layers: int) -> Read:
    """Return a layer as `resolve_layer` does; or what is read within one, checked."""
    if isinstance(read, int):
        return resolve_layer(read, num_layers)
    kind, layer = read
    if kind not in ("heads", "values") or not -num_layers <= layer < num_layers:
        raise ValueError(
            f"{kind} {layer} is out of range; this model has the decoder layers 0 to "
            f"{num_layers - 1}, or -1 down to {-num_layers}, and `heads` and `values` are read "
            f"within them"
        )
    return kind, layer % num_layers


def order_read(read: Read) -> tuple[bool, str, int]:
    """Return a key that sorts layers and what is read within them."""
    return (False, "", read) if isinstance(read, int) else (True, *read)


def run_layers(
    model: Any, layers: Sequence[Read], *, take: Take, hooks: Hooks | None = None, **what: Any
) -> None:
    """Run one forward pass; hand each layer's states over, as the model shapes them.

    hooks: what changes states within the pass (steering.py), after they were handed over.
    """
    decoder: Any = () if list(layers) == [-1] else find_decoder_layers(model)
    needed = [read + 1 if isinstance(read, int) else read[1] + 2 for read in layers]
    deepest = max(needed) - 1 if -1 not in layers else len(decoder)  # its input is not needed
    with ExitStack() as stack:
        for read in layers:
            if read != -1:
                stack.callback(_hook_read(decoder, read, take).remove)
        if deepest < len(decoder):
            stack.callback(decoder[deepest].register_forward_pre_hook(_stop).remove)
        if hooks is not None:
            stack.enter_context(hooks(model))
        with suppress(_DeepEnough):
            states = model(**what, use_cache=False).last_hidden_state
            if -1 in layers:
                take(-1, states)


def _stop(_module: nn.Module, _args: Any) -> None:
    raise _DeepEnough


def _hook_read(decoder: Sequence[nn.Module], read: Read, take: Take) -> Any:
    """Hook what is read: the input of a decoder layer, which is the states after those below; or
    the input of the output projection of its attention, or its values."""
    if isinstance(read, tuple) and read[0] == "values":
        module = find_value_projection(decoder[read[1]])
        return module.register_forward_hook(lambda _m, _a, values: take(read, values))  # pyright: ignore

    def give(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        take(read, args[0] if args else kwargs["hidden_states"])

    layer = decoder[read if isinstance(read, int) else read[1]]
    module = layer if isinstance(read, int) else find_output_projection(layer)
    return module.register_forward_pre_hook(give, with_kwargs=True)
