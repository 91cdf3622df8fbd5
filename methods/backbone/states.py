"""Hold the hidden states of one layer for the rows of a batch, without padding them.

B rows, T tokens of the batch, P tokens of a shared prefix, L positions, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from methods.backbone.packed_batch import move


@dataclass(frozen=True, eq=False)
class BatchStates:
    """The states of one layer, as the model gave them.

    states_TD: those of all rows, one after the other, padding between them or none.
    starts: where each row begins in them. lengths: tokens of each row, the shared prefix counted.
    prefix_PD: the states of the prefix that all rows begin with, which are not in states_TD.
    shared: filled with indices, which the first layer makes for all.
    """

    states_TD: Tensor
    starts: np.ndarray
    lengths: np.ndarray
    prefix_PD: Tensor | None = None
    shared: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def prefix_length(self) -> int:
        return 0 if self.prefix_PD is None else len(self.prefix_PD)

    def pad(self, first: int = 0, last: int | None = None) -> Tensor:
        """Return the states of some rows, padded on the right with zeros: [B, L, D]."""
        last = len(self.lengths) if last is None else last
        lengths, starts = self.lengths[first:last], self.starts[first:last]
        B, L, P = len(lengths), int(lengths.max()), self.prefix_length
        if P == 0 and (lengths == L).all() and (np.diff(starts) == L).all():
            return self.states_TD[starts[0] : starts[0] + B * L].unflatten(0, (B, L))
        if (first, last) not in self.shared:
            self.shared[first, last] = self._find_places(lengths, starts)
        tokens, cells = self.shared[first, last]
        zeros = self.states_TD.new_zeros(B * L, self.states_TD.shape[1])
        padded_BLD = zeros.index_copy(0, cells, self.states_TD[tokens]).unflatten(0, (B, L))
        if self.prefix_PD is not None:
            padded_BLD[:, :P] = self.prefix_PD
        return padded_BLD

    def _find_places(self, lengths: np.ndarray, starts: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return of each token of some rows its place in states_TD and among their padded cells."""
        own, device = lengths - self.prefix_length, self.states_TD.device
        cells = np.arange(len(lengths)) * lengths.max() + self.prefix_length
        places = number_within(own)
        tokens = move(np.repeat(starts, own) + places, device)
        return tokens, move(np.repeat(cells, own) + places, device)


def number_within(lengths: np.ndarray) -> np.ndarray:
    """Return 0 ... n - 1 for each length n, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)


class Reader(Protocol):
    """What is done with the states of a batch, a layer at a time while the pass goes on."""

    def read(self, layer: Any, states: BatchStates) -> None:
        """Take what is needed of a layer's states, which are not held after this call."""

    def finish(self) -> Any:
        """Return what was made of all layers."""


MakeReader = Callable[[Sequence[int]], Reader]


class PaddedStates:
    """A reader that returns the states themselves: {layer: hidden_BLD}."""

    def __init__(self, rows: Sequence[int]) -> None:
        self.found: dict[Any, Tensor] = {}

    def read(self, layer: Any, states: BatchStates) -> None:
        self.found[layer] = states.pad()

    def finish(self) -> dict[Any, Tensor]:
        return self.found
