"""Attention over packed sequences: no padding, and each sees only itself.

B rows, H query heads, K key heads, T tokens of the stream, L of a row, P of a prefix, D size of a
head.

The kernel is registered under a name of ours with transformers' attention interface and reads what
it must know of the rows from the `Stream` in force, so no architecture has to hand anything on.

What an architecture asks for beyond this (attention sinks, position biases, chunks, masks of its
own) raises `CannotPack`, and `packs` asks every model at load: what cannot be packed is padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from methods.backbone.attention import attending, configs_of
from methods.backbone.kernels import CannotPack, Scoring, flash, grouped, padded
from methods.backbone.locks import lock_of
from methods.backbone.structure import is_out_of_memory
from methods.base import Attention

NAME = "dec2vec_packed"
Form = Literal["groups", "padded", "flash_attention_2"]
PASSED_ON = {"position_ids", "cache_position", "position_embeddings"}


@dataclass(eq=False)
class Stream:
    """Packed sequences. lengths: of each row, rows of one length standing together.

    form: how attention is computed: `groups` of equal length, `padded`, or `flash_attention_2`.
    prefix: per attention module, keys and values [K, P, D] of tokens that stand before every row.
    kept: filled, when given, with this stream's own keys and values per attention module.
    windows: filled with the sliding windows that attention modules asked for.
    biases: filled with what kernels add to scores, which all layers share.
    """

    lengths: Sequence[int]
    attention: Attention
    form: Form = "groups"
    prefix: Mapping[nn.Module, tuple[Tensor, Tensor]] | None = None
    prefix_length: int = 0
    kept: dict[nn.Module, tuple[Tensor, Tensor]] | None = None
    windows: set[int] = field(default_factory=set)
    biases: dict[tuple[int, int | None], Tensor] = field(default_factory=dict)

    @cached_property
    def groups(self) -> list[tuple[int, int, int]]:
        """(first token, rows, length) of every stretch of equal length."""
        found, start = [], 0
        for length, members in groupby(self.lengths):
            rows = len(list(members))
            found.append((start, rows, length))
            start += rows * length
        return found

    def positions(self, device: Any) -> Tensor:
        """Each token's place in its row, the prefix counted: [1, T]."""
        lengths = torch.tensor(self.lengths, device=device)
        starts = lengths.cumsum(0) - lengths
        places = torch.arange(int(lengths.sum()), device=device)
        return (places - starts.repeat_interleave(lengths) + self.prefix_length)[None]

    def index(self, device: Any) -> tuple[Tensor, Tensor]:
        """For rows padded to one length L: each cell's token [B, L], and which cells are one."""
        lengths = torch.tensor(self.lengths, device=device)
        starts = lengths.cumsum(0) - lengths
        cells = torch.arange(int(lengths.max()), device=device)
        real = cells < lengths[:, None]
        return torch.where(real, starts[:, None] + cells, 0), real


_stream: ContextVar[Stream] = ContextVar("stream")


@contextmanager
def streaming(model: nn.Module, stream: Stream) -> Iterator[None]:
    """Within this block the model takes one row to be `stream`; after it, it is as before.

    Other threads wait for the block to end before they pass through this model.
    """
    with ExitStack() as stack:
        stack.enter_context(lock_of(model))
        before = [(config, config._attn_implementation) for config in configs_of(model)]
        token = _stream.set(stream)
        stack.callback(_stream.reset, token)
        for config, implementation in before:
            stack.callback(setattr, config, "_attn_implementation", implementation)
            config._attn_implementation = NAME
        stack.enter_context(attending(model, stream.attention))
        yield


def packed_attention(
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
    """transformers' attention contract: [1, heads, T, D] -> [1, T, heads, D]."""
    stream = _stream.get()
    unknown = [n for n, v in more.items() if isinstance(v, Tensor) and n not in PASSED_ON]
    if attention_mask is not None or unknown or query.shape[0] != 1:
        raise CannotPack(f"{type(module).__name__} needs {unknown or 'a mask or rows of its own'}")
    if query.shape[2] != sum(stream.lengths):
        raise CannotPack(f"{type(module).__name__} attends to other tokens than the text's")
    if sliding_window:
        stream.windows.add(sliding_window)
        if stream.prefix_length + max(stream.lengths) <= sliding_window:
            sliding_window = None
    if stream.kept is not None:
        stream.kept[module] = (key[0], value[0])
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scoring = Scoring(scale, sliding_window or None, softcap)
    if stream.form == "flash_attention_2":
        return flash(module, query, key, value, stream, scoring), None
    attend = padded if stream.form == "padded" else grouped
    return attend(module, query[0], key[0], value[0], stream, scoring)[None], None


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, lambda *_args, **_kwargs: None)


ROWS = ((3, 8), (11, 5), (19, 5))  # (first token, length) of the rows `packs` lays out


@torch.inference_mode()
def packs(model: Any, attention: Attention, form: Form) -> bool:
    """Whether packed rows give the states each gives alone, and none sees its neighbours."""
    device = model.get_input_embeddings().weight.device
    vocabulary = model.get_input_embeddings().num_embeddings
    rows = [
        [(first + 7 * place) % max(vocabulary - 4, 1) for place in range(length)]
        for first, length in ROWS
    ]
    stream = Stream([len(row) for row in rows], attention, form)
    try:
        packed = _read(model, [token for row in rows for token in row], stream, device)
        other = [(rows[0][0] + 1) % vocabulary, *rows[0][1:], *rows[1], *rows[2]]
        changed = _read(model, other, stream, device)
    except Exception as error:  # whatever it is that it does not take, it is read padded
        if is_out_of_memory(error):  # says nothing of what the model can do
            raise
        return False
    if _has_window(model) and not stream.windows:
        return False
    alone = []
    for row in rows:
        with lock_of(model), attending(model, attention):
            ids = torch.tensor([row], device=device)
            alone.append(model(input_ids=ids, use_cache=False).last_hidden_state[0].float())
    expected = torch.cat(alone)
    half = model.get_input_embeddings().weight.dtype != torch.float32
    # Sums in another order differ in the last digits, which deep half-precision models amplify, now
    # and then to a cosine of 0.9 at one token; a row that is read in a wrong way is far off at most
    # of them (the other attention: cosines from -0.05 to 0.97). Hence each row's median token.
    lengths = [len(row) for row in rows]
    cosines = torch.cosine_similarity(packed, expected, dim=-1).split(lengths)
    distance = max(1 - float(row.median()) for row in cosines)
    leak = float((packed - changed)[lengths[0] :].abs().max() / expected.abs().max())
    return distance < (2e-2 if half else 1e-5) and leak < (1e-3 if half else 1e-5)


def _read(model: Any, ids: list[int], stream: Stream, device: Any) -> Tensor:
    with streaming(model, stream):
        output = model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=stream.positions(device),
            use_cache=False,
        )
    return output.last_hidden_state[0].float()


def _has_window(model: Any) -> bool:
    """Whether some layers see only a window (or a chunk) of the text."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return bool({"sliding_attention", "chunked_attention"} & set(kinds))
    window = getattr(config, "sliding_window", None)
    return bool(window) and getattr(config, "use_sliding_window", True)
