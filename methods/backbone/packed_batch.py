"""Describe packed sequences and how attention over them is computed; data only, no kernels.

T tokens of the packed batch, B sequences, L positions, K key heads, P tokens of a shared prefix,
D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from methods.base import Attention

PackedLayout = Literal["groups", "padded", "varlen", "flash_attention_2"]
SHORTEST_PREFIX = 8  # computing a shorter one again costs less than attending to it separately


@dataclass(frozen=True)
class Scoring:
    """How an attention module scores: factor of the products, sliding window, soft cap."""

    scale: float
    window: int | None
    softcap: float | None


class CannotPack(ValueError):
    """Raised where a model's attention needs more than the tokens of each sequence."""


@dataclass(eq=False)
class PackedBatch:
    """Packed sequences. lengths: of each, sequences of equal length standing together.

    layout: how attention is computed: in `groups` of equal length, `padded`, by torch's `varlen`
        flash attention, or by the flash-attn package (`flash_attention_2`).
    prefix: per attention module, keys and values [K, P, D] of the shared prefix of all sequences.
    fused: whether the fused kernel is used at any length (the probe tests it on short sequences).
    collected: where given, filled with this batch's own keys and values per attention module.
    windows: filled with the sliding windows that attention modules asked for.
    shared: filled with masks, boundaries and indices, which the first layer makes for all.
    """

    lengths: Sequence[int]
    attention: Attention
    layout: PackedLayout = "groups"
    prefix: Mapping[nn.Module, tuple[Tensor, Tensor]] | None = None
    prefix_length: int = 0
    fused: bool = False
    collected: dict[nn.Module, tuple[Tensor, Tensor]] | None = None
    windows: set[int] = field(default_factory=set)
    shared: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def groups(self) -> list[tuple[int, int, int]]:
        """(first token, number of sequences, length) of every run of equal lengths."""
        found, start = [], 0
        for length, members in groupby(self.lengths):
            rows = len(list(members))
            found.append((start, rows, length))
            start += rows * length
        return found

    @cached_property
    def starts(self) -> np.ndarray:
        """The first token of every sequence, and the number of tokens: [B + 1]."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def share(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what `make` returned the first time it was called under this key."""
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]

    def make_positions(self, device: Any) -> Tensor:
        """Return each token's position in its sequence, the shared prefix counted: [1, T]."""
        starts = np.repeat(self.starts[:-1], self.lengths)
        places = np.arange(len(starts)) - starts + self.prefix_length
        return move(places, device)[None]

    def make_ends(self, device: Any) -> Tensor:
        """Return where sequences begin and end among the tokens: int32 [B + 1]."""
        return self.share("ends", lambda: move(self.starts.astype(np.int32), device))

    def make_paddings(self, device: Any) -> list[Padding]:
        """Return how the sequences are padded, a part of them at a time.

        No sequence of a part is shorter than half the longest, so that however lengths are mixed
        there are at most twice as many positions as tokens.
        """
        return self.share("paddings", lambda: list(self._pad_parts(device)))

    def _pad_parts(self, device: Any) -> Iterator[Padding]:
        for first, last in find_parts(self.lengths):
            lengths, starts = np.array(self.lengths[first:last]), self.starts[first:last]
            places = np.arange(lengths.max())
            # A padding position repeats the sequence's last token; nothing reads what it gives.
            index = starts[:, None] + np.minimum(places, lengths[:, None] - 1)
            real = places < lengths[:, None]
            yield Padding(
                index_BL=move(index, device),
                real_BL=None if real.all() else move(real, device),
                cells_T=move(np.flatnonzero(real), device),
            )


@dataclass(frozen=True, eq=False)
class Padding:
    """Some sequences of a packed batch, padded. index_BL: each position's token among the packed
    ones. real_BL: which positions are no padding; None where all are. cells_T: each token's place
    among the B times L positions."""

    index_BL: Tensor
    real_BL: Tensor | None
    cells_T: Tensor


def find_parts(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last + 1) of stretches of sequences: the longest of a stretch is at most twice
    as long as the shortest."""
    first = longest = shortest = 0
    for place, length in enumerate(lengths):
        if place == first:
            longest = shortest = length
        if max(longest, length) > 2 * min(shortest, length):
            yield first, place
            first, longest, shortest = place, length, length
        longest, shortest = max(longest, length), min(shortest, length)
    if lengths:
        yield first, len(lengths)


def move(array: np.ndarray, device: Any) -> Tensor:
    """Return an array as a tensor on a device, without waiting for what the device computes."""
    tensor = torch.from_numpy(array)
    if torch.device(device).type == "cuda":  # from other memory a copy waits
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
