"""From token ids to hidden states: sorted by length, batched by a token budget, one pass a batch.

B rows of a batch, L positions, T tokens of a packed batch, P of a common prefix, D hidden size.

Where the model's attention can be packed (packed.py), a batch is one row of texts end to end;
else its rows are padded on the right and no position ids are given: then every architecture's own
default is right, and causal rows need no mask at all, since what stands to the right of a row is
never looked at. States are those of transformers' `hidden_states` (0 = embeddings, k = after layer
k, -1 = after the final norm), taken by hooks, so that only the layers asked for are kept, no
language-model head runs, and nothing runs behind the deepest layer asked for.

Under causal attention what all rows begin with (an instruction, demonstrations) is read once. It is
found from the ids: no method knows of it.
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

from methods.backbone.attention import attending
from methods.backbone.loader import Backbone
from methods.backbone.locks import lock_of
from methods.backbone.packed import Stream, streaming
from methods.backbone.structure import decoder_layers
from methods.base import Attention, Inputs

log = logging.getLogger(__name__)
SHORTEST_PREFIX = 8  # reading a shorter one again costs less than attending to it apart


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

    Out of memory on CUDA halves the budget of tokens and reads the batch again; the new budget
    stays, and `backbone.choices` says it. Between batches the model is as it was, and threads may
    share it: each batch is one locked pass. Raises ValueError for an attention the model does not
    obey and a row longer than its positions.
    """
    backbone.require(attention)
    lengths = [len(ids) for ids in inputs.ids]
    longest = max(lengths, default=0)
    if backbone.max_positions is not None and longest > backbone.max_positions:
        raise ValueError(
            f"a row of {longest} tokens is longer than the {backbone.max_positions} positions of "
            f"{backbone.identity['name']}; lower method.max_length"
        )
    packed = attention in backbone.packed
    prefix = (
        _read_prefix(backbone, inputs.ids, layers) if packed and attention == "causal" else None
    )
    own = [length - (prefix.length if prefix else 0) for length in lengths]
    waiting = deque(batches(own, backbone.batch_tokens, packed=packed))
    while waiting:
        rows = waiting.popleft()
        ids = [inputs.ids[i] for i in rows]
        try:
            with torch.inference_mode():
                if packed:
                    states = _packed_states(backbone, ids, attention, layers, prefix)
                else:
                    states = _padded_states(backbone, ids, attention, layers)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            torch.cuda.empty_cache()
            budget = sum(own[i] for i in rows) if packed else len(rows) * own[rows[0]]
            backbone.limit_batches(budget // 2)
            rest = [*rows, *(row for batch in waiting for row in batch)]
            again = batches([own[i] for i in rest], backbone.batch_tokens, packed=packed)
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
    """{layer: hidden_BLD} of one batch, rows in the order given.

    For training: gradients flow wherever they are enabled. packed: where the model allows it.
    """
    if not packed or attention not in backbone.packed:
        return _padded_states(backbone, ids, attention, layers)
    order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
    states = _packed_states(backbone, [ids[row] for row in order], attention, layers, None)
    places = torch.tensor(order, device=states[layers[0]].device).argsort()
    return {layer: hidden_BLD[places] for layer, hidden_BLD in states.items()}


def batches(lengths: Sequence[int], batch_tokens: int, *, packed: bool) -> Iterator[list[int]]:
    """Rows longest first, in batches of at most `batch_tokens` (or of one row).

    Padded, every row of a batch counts as its longest.
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
class _Prefix:
    """What all rows begin with, read once. states: {layer: states_PD} of its own positions."""

    length: int
    keys_and_values: Mapping[nn.Module, tuple[Tensor, Tensor]]
    states: Mapping[int, Tensor]


def _read_prefix(backbone: Backbone, ids: list[list[int]], layers: Sequence[int]) -> _Prefix | None:
    """The common prefix of all rows, or None where it would not pay."""
    if len(ids) < 2:
        return None
    first, last = min(ids), max(ids)
    length = min(len(commonprefix([first, last])), min(map(len, ids)) - 1)
    window = getattr(backbone.model.config.get_text_config(), "sliding_window", None)
    if length < SHORTEST_PREFIX or (window and max(map(len, ids)) > window):
        return None
    stream = Stream([length], "causal", backbone.form, kept={})
    with torch.inference_mode():
        states = _stream_states(backbone, [first[:length]], stream, layers)
    assert stream.kept is not None
    return _Prefix(length, stream.kept, {layer: s[0] for layer, s in states.items()})


def _packed_states(
    backbone: Backbone,
    ids: Sequence[Sequence[int]],
    attention: Attention,
    layers: Sequence[int],
    prefix: _Prefix | None,
) -> dict[int, Tensor]:
    skip = prefix.length if prefix else 0
    own = [row[skip:] for row in ids]
    stream = Stream([len(row) for row in own], attention, backbone.form)
    if prefix is not None:
        stream.prefix, stream.prefix_length = prefix.keys_and_values, skip
    states = _stream_states(backbone, own, stream, layers)
    found = {}
    for layer, stream_1TD in states.items():
        if len(stream.groups) == 1:
            padded_BLD = stream_1TD[0].unflatten(0, (len(own), len(own[0])))
        else:
            padded_BLD = pad_sequence(
                list(stream_1TD[0].split(list(stream.lengths))), batch_first=True
            )
        if prefix is not None:
            before_BPD = prefix.states[layer].expand(len(own), -1, -1)
            padded_BLD = torch.cat([before_BPD, padded_BLD], dim=1)
        found[layer] = padded_BLD
    return found


def _stream_states(
    backbone: Backbone, ids: Sequence[Sequence[int]], stream: Stream, layers: Sequence[int]
) -> dict[int, Tensor]:
    device = backbone.model.get_input_embeddings().weight.device
    ids_1T = torch.tensor([[token for row in ids for token in row]], device=device)
    with streaming(backbone.model, stream):
        return _run(backbone.model, layers, input_ids=ids_1T, position_ids=stream.positions(device))


def _padded_states(
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
    with lock_of(model), attending(model, attention):
        return _run(model, layers, input_ids=ids_BL, attention_mask=mask)


class _DeepEnough(Exception):
    """Raised behind the deepest layer that was asked for."""


def _run(model: Any, layers: Sequence[int], **what: Any) -> dict[int, Tensor]:
    """One forward pass: {layer: states as the model lays them out}."""
    states: dict[int, Tensor] = {}
    deepest = max(layers) if -1 not in layers else None
    with ExitStack() as stack:
        for layer in layers:
            if layer != -1:
                stack.callback(_keep(model, layer, states, layer == deepest).remove)
        with suppress(_DeepEnough):
            states[-1] = model(**what, use_cache=False).last_hidden_state
    return {layer: states[layer] for layer in layers}


def _keep(model: Any, layer: int, states: dict[int, Tensor], deepest: bool) -> Any:
    """A hook that keeps what decoder layer number `layer` + 1 reads: the states after `layer`."""

    def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states[layer] = args[0] if args else kwargs["hidden_states"]
        if deepest:
            raise _DeepEnough

    return decoder_layers(model)[layer].register_forward_pre_hook(keep, with_kwargs=True)
