"""Compute hidden states from token ids: sorted by length, batched by a token budget.

B sequences of a batch, L positions, T tokens of a packed batch, P tokens of a shared prefix, D
hidden size.

Where the model's attention can be packed (packed.py), the sequences of a batch are packed into one
row; else they are padded on the right and no position ids are given: then every architecture's own
default is right, and causal attention needs no mask, since nothing attends to padding on its right.
States are those of transformers' `hidden_states` (0 = embeddings, k = after layer k, -1 = after the
final norm), taken by hooks, so that only the requested layers are stored, no language-model head
runs, and no layer above the deepest requested one runs.

Under causal attention the shared prefix of all sequences (an instruction, demonstrations) is
computed once. It is found from the ids, so methods need not declare it.
"""

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from methods.backbone.attention import attention_mode
from methods.backbone.loader import Backbone
from methods.backbone.locks import get_lock
from methods.backbone.packed import packed_mode
from methods.backbone.packed_batch import SHORTEST_PREFIX, PackedBatch
from methods.backbone.structure import find_decoder_layers, read_window
from methods.base import Attention, Inputs

log = logging.getLogger(__name__)


def resolve_layer(layer: int, num_layers: int) -> int:
    """Return a layer as 0 ... N-1 or -1 (after the final norm), which N and -1 both mean."""
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
    """Yield (rows of a batch, {layer: hidden_BLD}) for all rows of `inputs`, longest first.

    Running out of memory on CUDA halves the token budget and repeats the batch; the new budget
    stays and is recorded in `backbone.choices`. Between batches the model is as it was, and threads
    may share it: each batch is one locked pass. Raises ValueError for an attention that the model
    does not support and for a row longer than its positions.
    """
    backbone.require_attention(attention)
    lengths = [len(ids) for ids in inputs.ids]
    longest = max(lengths, default=0)
    if backbone.max_positions is not None and longest > backbone.max_positions:
        raise ValueError(
            f"a row of {longest} tokens is longer than the {backbone.max_positions} positions of "
            f"{backbone.identity['name']}; lower method.max_length"
        )
    packed = attention in backbone.packed
    prefix = (
        _compute_prefix(backbone, inputs.ids, layers) if packed and attention == "causal" else None
    )
    own = [length - (prefix.length if prefix else 0) for length in lengths]
    waiting = deque(make_batches(own, backbone.batch_tokens, packed=packed))
    while waiting:
        rows = waiting.popleft()
        ids = [inputs.ids[i] for i in rows]
        try:
            with torch.inference_mode():
                if packed:
                    states = _run_packed_rows(backbone, ids, attention, layers, prefix)
                else:
                    states = _run_padded_rows(backbone, ids, attention, layers)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            torch.cuda.empty_cache()
            budget = sum(own[i] for i in rows) if packed else len(rows) * own[rows[0]]
            backbone.limit_batches(budget // 2)
            rest = [*rows, *(row for batch in waiting for row in batch)]
            again = make_batches([own[i] for i in rest], backbone.batch_tokens, packed=packed)
            waiting = deque([rest[place] for place in batch] for batch in again)
            continue
        yield rows, states


def hidden_states(
    backbone: Backbone,
    ids: Sequence[Sequence[int]],
    *,
    attention: Attention,
    packed: bool,
    layers: Sequence[int] = (-1,),
) -> dict[int, Tensor]:
    """Return {layer: hidden_BLD} of one batch, rows in the order given, for training.

    Gradients are computed where they are enabled. packed: whether to pack where the model allows.
    """
    if not packed or attention not in backbone.packed:
        return _run_padded_rows(backbone, ids, attention, layers)
    order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
    states = _run_packed_rows(backbone, [ids[row] for row in order], attention, layers, None)
    places = torch.tensor(order, device=states[layers[0]].device).argsort()
    return {layer: hidden_BLD[places] for layer, hidden_BLD in states.items()}


def make_batches(lengths: Sequence[int], batch_tokens: int, *, packed: bool) -> Iterator[list[int]]:
    """Yield rows, longest first, in batches of at most `batch_tokens` tokens (or of one row).

    Where batches are padded, every row counts as the longest of its batch.
    """
    batch: list[int] = []
    tokens = 0
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        cost = lengths[row] if packed or not batch else lengths[batch[0]]
        if batch and tokens + cost > batch_tokens:
            yield batch
            batch, tokens, cost = [], 0, lengths[row]
        batch.append(row)
        tokens += cost
    if batch:
        yield batch


@dataclass
class _SharedPrefix:
    """The computed prefix of all rows. states: {layer: states_PD} of its own positions."""

    length: int
    keys_and_values: Mapping[nn.Module, tuple[Tensor, Tensor]]
    states: Mapping[int, Tensor]


def _compute_prefix(
    backbone: Backbone, ids: list[list[int]], layers: Sequence[int]
) -> _SharedPrefix | None:
    """Compute the shared prefix of all rows; None where that would not pay."""
    if len(ids) < 2:
        return None
    first, last = min(ids), max(ids)
    length = min(len(commonprefix([first, last])), min(map(len, ids)) - 1)
    window = read_window(backbone.model)
    if length < SHORTEST_PREFIX or (window and max(map(len, ids)) > window):
        return None
    batch = PackedBatch([length], "causal", backbone.packed_layout, collected={})
    with torch.inference_mode():
        states = _run_packed(backbone, [first[:length]], batch, layers)
    assert batch.collected is not None
    return _SharedPrefix(length, batch.collected, {layer: s[0] for layer, s in states.items()})


def _run_packed_rows(
    backbone: Backbone,
    ids: Sequence[Sequence[int]],
    attention: Attention,
    layers: Sequence[int],
    prefix: _SharedPrefix | None,
) -> dict[int, Tensor]:
    skip = prefix.length if prefix else 0
    own = [row[skip:] for row in ids]
    batch = PackedBatch([len(row) for row in own], attention, backbone.packed_layout)
    if prefix is not None:
        batch.prefix, batch.prefix_length = prefix.keys_and_values, skip
    states = _run_packed(backbone, own, batch, layers)
    found = {}
    for layer, packed_1TD in states.items():
        if len(batch.groups) == 1:
            padded_BLD = packed_1TD[0].unflatten(0, (len(own), len(own[0])))
        else:
            padded_BLD = pad_sequence(
                list(packed_1TD[0].split(list(batch.lengths))), batch_first=True
            )
        if prefix is not None:
            before_BPD = prefix.states[layer].expand(len(own), -1, -1)
            padded_BLD = torch.cat([before_BPD, padded_BLD], dim=1)
        found[layer] = padded_BLD
    return found


def _run_packed(
    backbone: Backbone, ids: Sequence[Sequence[int]], batch: PackedBatch, layers: Sequence[int]
) -> dict[int, Tensor]:
    device = backbone.model.get_input_embeddings().weight.device
    ids_1T = torch.tensor([[token for row in ids for token in row]], device=device)
    positions = batch.make_positions(device)
    with packed_mode(backbone.model, batch):
        return _run(backbone.model, layers, input_ids=ids_1T, position_ids=positions)


def _run_padded_rows(
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
    with get_lock(model), attention_mode(model, attention):
        return _run(model, layers, input_ids=ids_BL, attention_mask=mask)


class _DeepEnough(Exception):
    """Raised after the deepest requested layer, to end the forward pass."""


def _run(model: Any, layers: Sequence[int], **what: Any) -> dict[int, Tensor]:
    """Run one forward pass; return {layer: states as the model shapes them}."""
    states: dict[int, Tensor] = {}
    deepest = max(layers) if -1 not in layers else None
    with ExitStack() as stack:
        for layer in layers:
            if layer != -1:
                stack.callback(_hook_layer(model, layer, states, layer == deepest).remove)
        with suppress(_DeepEnough):
            states[-1] = model(**what, use_cache=False).last_hidden_state
    return {layer: states[layer] for layer in layers}


def _hook_layer(model: Any, layer: int, states: dict[int, Tensor], deepest: bool) -> Any:
    """Hook the input of decoder layer number `layer` + 1, which is the states after `layer`."""

    def store(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states[layer] = args[0] if args else kwargs["hidden_states"]
        if deepest:
            raise _DeepEnough

    return find_decoder_layers(model)[layer].register_forward_pre_hook(store, with_kwargs=True)
