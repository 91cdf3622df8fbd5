"""Compute hidden states from token ids: sorted by length, batched by a token budget.

B sequences of a batch, L positions, T tokens of a packed batch, P tokens of a shared prefix, D
hidden size.

Where the model's attention can be packed (packed.py), the sequences of a batch are packed into one
row; else they are padded on the right and no position ids are given: then every architecture's own
default is right, and causal attention needs no mask, since nothing attends to padding on its right.
States are those of transformers' `hidden_states` (0 = embeddings, k = after layer k, -1 = after the
final norm), handed to a reader one layer at a time (states.py).

Under causal attention the shared prefix of all sequences (an instruction, demonstrations) is
computed once. It is found from the ids, so methods need not declare it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from os.path import commonprefix
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from methods.backbone.attention import attention_mode
from methods.backbone.batches import make_batches
from methods.backbone.hardware import free_memory
from methods.backbone.layers import Hooks, Take, run_layers
from methods.backbone.loader import Backbone
from methods.backbone.locks import get_lock
from methods.backbone.packed import packed_mode
from methods.backbone.packed_batch import SHORTEST_PREFIX, PackedBatch, move
from methods.backbone.states import BatchStates, MakeReader, PaddedStates, Reader
from methods.backbone.steering import Steer, Steering
from methods.backbone.structure import is_out_of_memory, read_window
from methods.base import Attention, Inputs, Read


def forward(
    backbone: Backbone,
    inputs: Inputs,
    *,
    attention: Attention,
    layers: Sequence[Read],
    make_reader: MakeReader = PaddedStates,
    steering: Steering | None = None,
) -> Iterator[tuple[list[int], Any]]:
    """Yield (rows of a batch, what its reader made of the states) for all rows, longest first.

    make_reader: from the rows of a batch to what reads its states, a layer at a time within the
        pass (states.py). Without one, {layer: hidden_BLD} is yielded.
    steering: changes states within the pass; then no prefix is shared, and the rows of a text are
        in one batch.

    Running out of memory, in the pass or in the reader, halves the token budget and repeats the
    batch; the new budget stays and is recorded in `backbone.choices`. Between batches the model is
    as it was, and threads may share it: each batch is one locked pass. Raises ValueError for an
    attention that the model does not support and for a row longer than its positions.
    """
    backbone.require_attention(attention)
    lengths = [len(ids) for ids in inputs.ids]
    _check_longest(backbone, max(lengths, default=0))
    packed = attention in backbone.packed
    prefix = None
    if packed and attention == "causal" and steering is None:
        prefix = _compute_prefix_if_it_fits(backbone, inputs.ids, layers)
    each, skip = steering.rows_per_text if steering else 1, prefix.length if prefix else 0
    own = [sum(lengths[at : at + each]) - skip for at in range(0, len(lengths), each)]
    waiting = deque(make_batches(own, backbone.batch_tokens, packed=packed))

    def run(rows: list[int]) -> Any:
        reader, ids = make_reader(rows), [inputs.ids[row] for row in rows]
        steer = steering.start(rows, inputs.marks) if steering else None
        with torch.inference_mode():
            if packed:
                _run_packed_rows(backbone, ids, attention, layers, prefix, reader, steer)
            else:
                _run_padded_rows(backbone, ids, attention, layers, reader, steer)
            return reader.finish()

    while waiting:
        texts = waiting.popleft()
        rows = _list_rows(texts, each, lengths)
        found = _attempt(lambda rows=rows: run(rows), again=len(texts) > 1)
        if found:
            yield rows, found.pop()  # not held while the next batch is computed
            continue
        waiting = _make_smaller(backbone, own, [texts, *waiting], packed=packed)


def _list_rows(texts: list[int], each: int, lengths: Sequence[int]) -> list[int]:
    """Return the rows of texts, longest first."""
    if each == 1:
        return texts
    rows = [text * each + row for text in texts for row in range(each)]
    return sorted(rows, key=lambda row: -lengths[row])


def _check_longest(backbone: Backbone, longest: int) -> None:
    if backbone.max_positions is not None and longest > backbone.max_positions:
        raise ValueError(
            f"a row of {longest} tokens is longer than the {backbone.max_positions} positions of "
            f"{backbone.identity['name']}; lower method.max_length"
        )


def _make_smaller(
    backbone: Backbone, lengths: Sequence[int], batches: list[list[int]], *, packed: bool
) -> deque[list[int]]:
    """Halve the token budget below the first of these batches, which did not fit; return batches
    of all their rows within it."""
    first, rows = batches[0], [row for batch in batches for row in batch]
    tokens = sum(lengths[row] for row in first) if packed else len(first) * lengths[first[0]]
    backbone.limit_batches(tokens // 2)
    smaller = make_batches([lengths[row] for row in rows], backbone.batch_tokens, packed=packed)
    return deque([rows[place] for place in batch] for batch in smaller)


def _attempt(run: Callable[[], Any], *, again: bool) -> list[Any]:
    """Return [what `run` returns], or [] where memory ran out and may be tried `again` with less.

    Memory is given back first, outside the `except` block: in it the traceback still holds every
    tensor of the failed pass.
    """
    try:
        return [run()]
    except Exception as error:
        if not again or not is_out_of_memory(error):
            raise
    free_memory()
    return []


def hidden_states(
    backbone: Backbone,
    ids: Sequence[Sequence[int]],
    *,
    attention: Attention,
    packed: bool,
    layers: Sequence[Read] = (-1,),
) -> dict[Any, Tensor]:
    """Return {layer: hidden_BLD} of one batch, rows in the order given, for training.

    Gradients are computed where they are enabled. packed: whether to pack where the model allows.
    """
    reader = PaddedStates(range(len(ids)))
    if not packed or attention not in backbone.packed:
        _run_padded_rows(backbone, ids, attention, layers, reader)
        return reader.finish()
    order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
    _run_packed_rows(backbone, [ids[row] for row in order], attention, layers, None, reader)
    states = reader.finish()
    places = torch.tensor(order, device=states[layers[0]].device).argsort()
    return {layer: hidden_BLD[places] for layer, hidden_BLD in states.items()}


@dataclass
class _SharedPrefix:
    """The computed prefix of all rows. states: {layer: states_PD} of its own positions."""

    length: int
    keys_and_values: Mapping[nn.Module, tuple[Tensor, Tensor]]
    states: Mapping[Any, Tensor]


def _compute_prefix(
    backbone: Backbone, ids: list[list[int]], layers: Sequence[Read]
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
    states: dict[Any, Tensor] = {}

    def keep(layer: Read, states_1PD: Tensor) -> None:
        states[layer] = states_1PD[0]

    with torch.inference_mode():
        _run_packed(backbone, [first[:length]], batch, layers, keep)
    assert batch.collected is not None
    return _SharedPrefix(length, batch.collected, states)


def _compute_prefix_if_it_fits(
    backbone: Backbone, ids: list[list[int]], layers: Sequence[Read]
) -> _SharedPrefix | None:
    """Compute the shared prefix; where memory runs out, batches are halved and it is not shared."""
    found = _attempt(lambda: _compute_prefix(backbone, ids, layers), again=True)
    if not found:
        backbone.limit_batches(backbone.batch_tokens // 2)
    return found.pop() if found else None


def _run_packed_rows(
    backbone: Backbone,
    ids: Sequence[Sequence[int]],
    attention: Attention,
    layers: Sequence[Read],
    prefix: _SharedPrefix | None,
    reader: Reader,
    steer: Steer | None = None,
) -> None:
    skip = prefix.length if prefix else 0
    own = [row[skip:] for row in ids]
    batch = PackedBatch([len(row) for row in own], attention, backbone.packed_layout)
    if prefix is not None:
        batch.prefix, batch.prefix_length = prefix.keys_and_values, skip
    lengths = np.array([len(row) for row in ids])

    shared: dict[Any, Any] = {}

    def take(layer: Read, states_1TD: Tensor) -> None:
        before = prefix.states[layer] if prefix else None
        states = BatchStates(states_1TD[0], batch.starts[:-1], lengths, before, shared)
        reader.read(layer, states)

    hooks = _bind(steer, batch.starts, lengths)
    _run_packed(backbone, own, batch, layers, take, hooks)


def _bind(steer: Steer | None, starts: Any, lengths: np.ndarray) -> Hooks | None:
    """Return what sets a method's hooks, of rows that begin here in their batch."""
    return None if steer is None else lambda model: steer(model, starts, lengths)


def _run_packed(
    backbone: Backbone,
    ids: Sequence[Sequence[int]],
    batch: PackedBatch,
    layers: Sequence[Read],
    take: Take,
    hooks: Hooks | None = None,
) -> None:
    device = backbone.model.get_input_embeddings().weight.device
    ids_1T = move(np.fromiter(chain.from_iterable(ids), np.int64), device)[None]
    positions = batch.make_positions(device)
    with packed_mode(backbone.model, batch):
        what = {"input_ids": ids_1T, "position_ids": positions}
        run_layers(backbone.model, layers, take=take, hooks=hooks, **what)


def _run_padded_rows(
    backbone: Backbone,
    ids: Sequence[Sequence[int]],
    attention: Attention,
    layers: Sequence[Read],
    reader: Reader,
    steer: Steer | None = None,
) -> None:
    model = backbone.model
    lengths = np.array([len(row) for row in ids])
    longest, starts = int(lengths.max()), np.arange(len(ids)) * lengths.max()
    device = model.get_input_embeddings().weight.device
    real = np.arange(longest) < lengths[:, None]
    padded = np.full(real.shape, backbone.tokenizer.pad_token_id or 0, np.int64)
    padded[real] = np.fromiter(chain.from_iterable(ids), np.int64)
    ids_BL = move(padded, device)
    mask = None
    if attention != "causal" and not real.all():
        mask = move(real.astype(np.int64), device)
    shared: dict[Any, Any] = {}

    def take(layer: Read, states_BLD: Tensor) -> None:
        states = BatchStates(states_BLD.flatten(0, 1), starts, lengths, shared=shared)
        reader.read(layer, states)

    hooks = _bind(steer, starts, lengths)
    what = {"input_ids": ids_BL, "attention_mask": mask}
    with get_lock(model), attention_mode(model, attention):
        run_layers(model, layers, take=take, hooks=hooks, **what)
