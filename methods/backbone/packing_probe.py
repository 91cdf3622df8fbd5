"""Verify by test forward passes that packed sequences give the states each gives alone.

The probe takes the paths that a job takes: sequences of two lengths, under causal attention a
shared prefix as well, and the windows of a flash kernel, on numbers of its own. What upstream
changed (a private torch operator, an attention interface) is then found when the model is loaded,
not in the middle of a job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from methods.backbone.attention import attention_mode
from methods.backbone.flash import attend_flash
from methods.backbone.kernels import attend_padded
from methods.backbone.locks import get_lock
from methods.backbone.packed import packed_mode
from methods.backbone.packed_batch import SHORTEST_PREFIX, PackedBatch, PackedLayout, Scoring
from methods.backbone.structure import is_out_of_memory, read_window
from methods.base import Attention

ROWS = ((3, 8), (11, 5), (19, 5))  # (first token, length) of the sequences that are packed
PREFIX = (27, SHORTEST_PREFIX)


def supports_packing(model: Any, attention: Attention, layout: PackedLayout) -> bool:
    """Return whether test forward passes show that a model may be run on packed sequences."""
    return find_packing_fault(model, attention, layout) is None


@torch.inference_mode()
def find_packing_fault(model: Any, attention: Attention, layout: PackedLayout) -> str | None:
    """Return why packed sequences do not give the states each gives alone, or None if they do.

    Running out of memory says nothing about the model and is raised.
    """
    rows = [_make_ids(model, *row) for row in ROWS]
    try:
        fault = _compare_rows(model, rows, attention, layout)
        if fault is None and attention == "causal":
            fault = _compare_prefixed(model, rows, layout)
        if fault is None and _has_window(model):
            fault = _compare_windows(model, attention, layout)
    except Exception as error:  # whatever the model does not support, it is run padded
        if is_out_of_memory(error):
            raise
        return f"its forward pass raises {type(error).__name__}: {str(error)[:300]}"
    return fault


def _compare_rows(
    model: Any, rows: list[list[int]], attention: Attention, layout: PackedLayout
) -> str | None:
    """Return what is wrong with packed sequences, or None."""
    lengths = [len(row) for row in rows]
    batch = PackedBatch(lengths, attention, layout)
    packed = _run_packed(model, rows, batch)
    vocabulary = model.get_input_embeddings().num_embeddings
    other = [(rows[0][0] + 1) % vocabulary, *rows[0][1:]]
    changed = _run_packed(model, [other, *rows[1:]], batch)
    if _has_window(model) and not batch.windows:
        return "its attention modules do not pass on their sliding window"
    expected = torch.cat([_run_alone(model, row, attention) for row in rows])
    leak = float((packed - changed)[lengths[0] :].abs().max() / expected.abs().max())
    if not leak < (1e-3 if _is_half(model) else 1e-5):
        return "a packed sequence attends to its neighbours"
    if not _are_close(model, packed, expected, lengths):
        return "packed sequences do not give the states that each gives alone"
    return None


def _compare_prefixed(model: Any, rows: list[list[int]], layout: PackedLayout) -> str | None:
    """Return what is wrong with packed sequences after a shared prefix, or None.

    In half precision short sequences use another kernel than long ones; both are tried.
    """
    if window := read_window(model):  # a prefix is shared only where all of it is in the window
        rows = [row[: max(window - SHORTEST_PREFIX, 0)] for row in rows]
        if not all(rows):
            return None
    prefix = _make_ids(model, *PREFIX)
    shared = PackedBatch([len(prefix)], "causal", layout, collected={})
    before = _run_packed(model, [prefix], shared)
    expected = torch.cat([_run_alone(model, prefix + row, "causal") for row in rows])
    lengths = [len(row) for row in rows]
    for fused in (False, True) if layout == "groups" and _is_half(model) else (True,):
        batch = PackedBatch(
            *(lengths, "causal", layout, shared.collected),
            prefix_length=len(prefix),
            fused=fused,
        )
        own = _run_packed(model, rows, batch).split(lengths)
        packed = torch.cat([part for states in own for part in (before, states)])
        if not _are_close(model, packed, expected, [len(prefix) + length for length in lengths]):
            return "packed sequences after a shared prefix do not give the states of whole ones"
    return None


def _compare_windows(model: Any, attention: Attention, layout: PackedLayout) -> str | None:
    """Return what is wrong with a flash kernel's windows, or None. Random numbers are attended to,
    since the model's own window is longer than the sequences that are tried."""
    if layout not in ("varlen", "flash_attention_2"):
        return None  # windows are masks there
    weight, draw = model.get_input_embeddings().weight, torch.Generator().manual_seed(0)
    lengths, scoring = [length for _, length in ROWS], Scoring(1 / 64, window=2, softcap=None)
    q, k, v = (
        torch.randn(heads, sum(lengths), 64, generator=draw).to(weight.device, weight.dtype)
        for heads in (4, 2, 2)
    )
    found = attend_flash(model, q, k, v, PackedBatch(lengths, attention, layout), scoring)
    expected = attend_padded(model, q, k, v, PackedBatch(lengths, attention, "padded"), scoring)
    if not float((found - expected).abs().max()) < 0.1:  # a neighbour more or less moves it by 0.3
        return "the kernel's sliding windows are not those of the model's masks"
    return None


def _make_ids(model: Any, first: int, length: int) -> list[int]:
    vocabulary = model.get_input_embeddings().num_embeddings
    return [(first + 7 * place) % max(vocabulary - 4, 1) for place in range(length)]


def _run_packed(model: Any, rows: Sequence[Sequence[int]], batch: PackedBatch) -> Tensor:
    device = model.get_input_embeddings().weight.device
    ids_1T = torch.tensor([[token for row in rows for token in row]], device=device)
    with packed_mode(model, batch):
        output = model(input_ids=ids_1T, position_ids=batch.make_positions(device), use_cache=False)
    return output.last_hidden_state[0].float()


def _run_alone(model: Any, row: list[int], attention: Attention) -> Tensor:
    ids_1L = torch.tensor([row], device=model.get_input_embeddings().weight.device)
    with get_lock(model), attention_mode(model, attention):
        return model(input_ids=ids_1L, use_cache=False).last_hidden_state[0].float()


def _are_close(model: Any, packed: Tensor, expected: Tensor, lengths: list[int]) -> bool:
    """Return whether states are equal but for the order of sums.

    That order changes the last digits, which deep half-precision models amplify, now and then to a
    cosine of 0.9 at one token; a sequence that is computed in a wrong way is far off at most tokens
    (the other attention: cosines from -0.05 to 0.97). Hence the median token of each sequence.
    """
    cosines = torch.cosine_similarity(packed, expected, dim=-1).split(lengths)
    distance = max(1 - float(row.median()) for row in cosines)
    return distance < (2e-2 if _is_half(model) else 1e-5)


def _is_half(model: Any) -> bool:
    return model.get_input_embeddings().weight.dtype != torch.float32


def _has_window(model: Any) -> bool:
    """Return whether some layers attend to only a window (or a chunk) of the text."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return bool({"sliding_attention", "chunked_attention"} & set(kinds))
    return bool(read_window(model)) and getattr(config, "use_sliding_window", True)
