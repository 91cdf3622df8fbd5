"""Find out what a model is made of: its text layers, its positions, its sliding window."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

log = logging.getLogger(__name__)
PROBE_LENGTH = 8


def find_decoder_layers(model: Any) -> nn.ModuleList:
    """Return the list of a model's text layers, whatever the architecture calls it.

    Of several lists of that length, the text model's (a vision tower may be as deep), and in it the
    one whose members are transformers' layers.
    """
    number = model.config.get_text_config().num_hidden_layers
    places = [_text_model(model), model]
    for place in places:
        lists = [m for m in place.modules() if isinstance(m, nn.ModuleList) and len(m) == number]
        layers = [m for m in lists if all(_is_layer(part) for part in m)]
        if lists:
            return (layers or lists)[0]
    raise ValueError(f"{type(model).__name__} has no list of {number} layers; only layer=-1 works")


def find_output_projection(layer: nn.Module) -> nn.Module:
    """Return what a decoder layer's attention ends with: it reads the heads' weighted values."""
    return _find_projection(layer, ("o_proj", "out_proj", "dense", "c_proj", "wo"), "output")


def find_value_projection(layer: nn.Module) -> nn.Module:
    """Return what makes a decoder layer's values, where they are made apart from its keys."""
    return _find_projection(layer, ("v_proj",), "value")


def _find_projection(layer: nn.Module, names: Sequence[str], what: str) -> nn.Module:
    for module in layer.modules():
        if "attention" in type(module).__name__.lower():
            for name in names:
                if isinstance(found := getattr(module, name, None), nn.Module):
                    return found
    raise ValueError(
        f"the attention of {type(layer).__name__} has no {what} projection of its own "
        f"({', '.join(names)}), so it cannot be read or changed there; use another model"
    )


def _text_model(model: Any) -> nn.Module:
    """Return the innermost text decoder of a model: the model itself where it has none."""
    part: Any = model
    while True:
        find = getattr(part, "get_decoder", None)
        inner = find() if callable(find) else part
        if inner is part or not isinstance(inner, nn.Module):
            return part
        part = inner


def _is_layer(module: nn.Module) -> bool:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return isinstance(module, GradientCheckpointingLayer)


def measure_positions(model: Any) -> int | None:
    """Return the longest sequence that a model's positions allow; None where nothing limits it.

    That is what the config says, or less: a table of positions may begin with rows of its own
    (RoBERTa's for padding), so a short text is run and the rows it looks up are observed.
    """
    config = model.config.get_text_config()
    names = ("max_position_embeddings", "max_seq_len")  # the latter is MPT's
    stated = next((n for name in names if (n := getattr(config, name, None))), None)
    embeddings = model.get_input_embeddings()
    pad = getattr(config, "pad_token_id", None)
    # No two ids follow each other, and none is the padding's, which has no position of its own.
    ids = [id for id in range(3, embeddings.num_embeddings, 2) if id != pad]
    ids_1L = torch.tensor([ids[:PROBE_LENGTH]], device=embeddings.weight.device)
    try:
        with torch.inference_mode(), _Lookups() as lookups:
            model(ids_1L, use_cache=False)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        log.warning("positions cannot be measured, the config's are used: %s", error)
        return stated
    found = [*lookups.limits, *([stated] if stated else [])]
    return min(found, default=None)


def read_window(model: Any) -> int | None:
    """Return the sliding window in a model's config, whether all its layers use it or only some."""
    return getattr(model.config.get_text_config(), "sliding_window", None)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error is an allocator's; the CPU's has no class of its own."""
    text = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        "out of memory" in text or "allocate memory" in text or "alloc_failed" in text  # cuBLAS's
    )


class _Lookups(TorchDispatchMode):
    """Record the tables that are looked up at consecutive rows, and how many rows each has left."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.embedding.default:
            table, rows = args[0], args[1]
            if rows.ndim and rows.numel() == rows.shape[-1]:  # of the one text, not of pairs
                first = rows.flatten()[:PROBE_LENGTH].tolist()  # what follows is padding
                if first == list(range(first[0], first[0] + PROBE_LENGTH)):
                    self.limits.append(table.shape[0] - first[0])
        return func(*args, **(kwargs or {}))
