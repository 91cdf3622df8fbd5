"""From token ids to hidden states: sorted by length, batched by a token budget, one pass a batch.

B rows of a batch, L positions, D hidden size.

Rows are padded on the right and no position ids are given: then every architecture's own default is
right, also where positions are learned (GPT-2, OPT), and causal rows need no mask at all, since
what stands to the right of a row is never looked at. States are those of transformers'
`hidden_states` (0 = embeddings, k = after layer k, -1 = after the final norm), taken by hooks, so
that only the layers asked for are kept and no language-model head runs.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from methods.backbone.attention import attending
from methods.backbone.loader import Backbone
from methods.base import Attention, Inputs


def resolve_layer(layer: int, num_layers: int) -> int:
    """A layer as 0 ... N-1 or -1 (after the final norm), which is what N and -1 both mean."""
    if not -num_layers - 1 <= layer <= num_layers:
        raise ValueError(
            f"layer {layer} is out of range; this model has {num_layers} layers: valid are 0 (the "
            f"embeddings) to {num_layers}, or -1 (after the final norm) down to {-num_layers - 1}"
        )
    layer = layer + num_layers + 1 if layer < 0 else layer
    return -1 if layer == num_layers else layer


def forward(
    backbone: Backbone, inputs: Inputs, *, attention: Attention, layers: Sequence[int]
) -> Iterator[tuple[list[int], dict[int, Tensor]]]:
    """Yield (rows of a batch, {layer: hidden_BLD}) until every row was read, longest rows first.

    Raises ValueError for an attention the model does not obey and a row longer than its positions.
    """
    backbone.require(attention)
    longest = max((len(ids) for ids in inputs.ids), default=0)
    if backbone.max_positions is not None and longest > backbone.max_positions:
        raise ValueError(
            f"a row of {longest} tokens is longer than the {backbone.max_positions} positions of "
            f"{backbone.identity['name']}; lower method.max_length"
        )
    for rows in batches([len(ids) for ids in inputs.ids], backbone.batch_tokens):
        yield rows, _states(backbone, [inputs.ids[i] for i in rows], attention, layers)


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Rows longest first, in batches of at most `batch_tokens` padded tokens (or of one row)."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@torch.inference_mode()
def _states(
    backbone: Backbone, ids: Sequence[Sequence[int]], attention: Attention, layers: Sequence[int]
) -> dict[int, Tensor]:
    model = backbone.model
    length = max(map(len, ids))
    device = model.get_input_embeddings().weight.device
    pad = backbone.tokenizer.pad_token_id or 0
    ids_BL = torch.tensor([[*row, *[pad] * (length - len(row))] for row in ids], device=device)
    lengths_B = torch.tensor([len(row) for row in ids], device=device)
    mask_BL = (torch.arange(length, device=device) < lengths_B[:, None]).long()
    mask = None if attention == "causal" or bool(mask_BL.all()) else mask_BL
    states: dict[int, Tensor] = {}
    with ExitStack() as stack:
        stack.enter_context(attending(model, attention))
        for layer in layers:
            if layer != -1:
                stack.callback(_keep(model, layer, states).remove)
        last_BLD = model(input_ids=ids_BL, attention_mask=mask, use_cache=False).last_hidden_state
    return states | {-1: last_BLD} if -1 in layers else states


def _keep(model: Any, layer: int, states: dict[int, Tensor]) -> Any:
    """A hook that keeps what decoder layer number `layer` + 1 reads: the states after `layer`."""

    def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states[layer] = args[0] if args else kwargs["hidden_states"]

    return decoder_layers(model)[layer].register_forward_pre_hook(keep, with_kwargs=True)


def decoder_layers(model: Any) -> nn.ModuleList:
    """The list of a model's layers, whatever the architecture calls it."""
    number = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == number:
            return module
    raise ValueError(f"{type(model).__name__} has no list of {number} layers; only layer=-1 works")
