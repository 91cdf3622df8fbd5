"""Describe packed sequences and how attention over them is computed; data only, no kernels.

T tokens of the packed batch, B sequences, L positions, K key heads, P tokens of a shared prefix,
D head size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.base import Attention

PackedLayout = Literal["groups", "padded", "flash_attention_2"]
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

    layout: how attention is computed: `groups` of equal length, `padded`, or `flash_attention_2`.
    prefix: per attention module, keys and values [K, P, D] of the shared prefix of all sequences.
    fused: whether the fused kernel is used at any length (the probe tests it on short sequences).
    collected: where given, filled with this batch's own keys and values per attention module.
    windows: filled with the sliding windows that attention modules asked for.
    biases: filled with what kernels add to scores, which all layers share.
    """

    lengths: Sequence[int]
    attention: Attention
    layout: PackedLayout = "groups"
    prefix: Mapping[nn.Module, tuple[Tensor, Tensor]] | None = None
    prefix_length: int = 0
    fused: bool = False
    collected: dict[nn.Module, tuple[Tensor, Tensor]] | None = None
    windows: set[int] = field(default_factory=set)
    biases: dict[tuple[int, int | None], Tensor] = field(default_factory=dict)

    @cached_property
    def groups(self) -> list[tuple[int, int, int]]:
        """(first token, number of sequences, length) of every run of equal lengths."""
        found, start = [], 0
        for length, members in groupby(self.lengths):
            rows = len(list(members))
            found.append((start, rows, length))
            start += rows * length
        return found

    def make_positions(self, device: Any) -> Tensor:
        """Return each token's position in its sequence, the shared prefix counted: [1, T]."""
        lengths = torch.tensor(self.lengths, device=device)
        starts = lengths.cumsum(0) - lengths
        places = torch.arange(int(lengths.sum()), device=device)
        return (places - starts.repeat_interleave(lengths) + self.prefix_length)[None]

    def make_padding_index(self, device: Any) -> tuple[Tensor, Tensor]:
        """Return, for sequences padded to one length, each position's token [B, L] and which
        positions are real [B, L]."""
        lengths = torch.tensor(self.lengths, device=device)
        starts = lengths.cumsum(0) - lengths
        cells = torch.arange(int(lengths.max()), device=device)
        real = cells < lengths[:, None]
        return torch.where(real, starts[:, None] + cells, 0), real
