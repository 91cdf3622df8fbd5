"""Pool the rows of a batch layer by layer, while the model runs over it.

The built-in poolings are sums of a row's states, each times a weight that the mask decides, and are
computed where the states lie: no state is copied that is not pooled, and a bounded number at once
is held in float32. Any other `pool` gets right-padded states, some rows at a time.

B rows of a batch, T tokens, P tokens of a shared prefix, N pooled tokens, D hidden size, C cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from methods.backbone.packed_batch import move
from methods.backbone.states import BatchStates, number_within
from methods.backbone.trained_pooling import TrainedPooling
from methods.base import Inputs, Method, Read
from methods.encoding.vectorize import pool_rows, pools_by_mask

CELLS = 4096  # positions in float32 at a time, or one row: 64 MiB at a hidden size of 4,096
BY_WEIGHTS = ("last", "mean", "weighted_mean")


@dataclass
class BatchPooling:
    """The vectors of all cells for the rows of one batch (states.Reader).

    cells: methods, each at one layer, unless a trained pooling uses layers of its own.
    """

    cells: Sequence[Method]
    trained: TrainedPooling | None
    inputs: Inputs
    pooled: dict[tuple[int, Read], Tensor] = field(default_factory=dict)  # (cell, layer): [B, D]
    plans: dict[str, _Plan] = field(default_factory=dict)

    def read(self, layer: Read, states: BatchStates) -> None:
        for place, cell in enumerate(self.cells):
            if layer in self._list_layers(cell):
                self.pooled[place, layer] = self._pool(cell, states)

    def finish(self) -> HostCopy:
        """Begin to copy the vectors of every cell to the host: C of [B, D], float32."""
        return HostCopy.begin([self._combine(place, c) for place, c in enumerate(self.cells)])

    def _pool(self, cell: Method, states: BatchStates) -> Tensor:
        latent = self.trained is not None and self.trained.spec.kind == "latent_attention"
        if latent or not (pools_by_mask(type(cell)) and cell.pooling in BY_WEIGHTS):
            return self._pool_padded(cell, states, self.trained if latent else None)
        if cell.pooling not in self.plans:
            self.plans[cell.pooling] = _Plan.make(cell.pooling, self.inputs, states)
        return self.plans[cell.pooling].apply(states)

    def _pool_padded(
        self, cell: Method, states: BatchStates, trained: TrainedPooling | None
    ) -> Tensor:
        def pool(first: int, last: int, inputs: Inputs) -> Tensor:
            hidden = {cell.layer: states.pad(first, last).float()}
            return pool_rows(cell, trained, hidden, inputs).float()

        return torch.cat([pool(*part) for part in self._parts])

    @cached_property
    def _parts(self) -> list[tuple[int, int, Inputs]]:
        """Return (first row, last + 1, their inputs) of what is padded at a time."""
        lengths = np.array([len(ids) for ids in self.inputs.ids])
        return [(one, end, self.inputs.rows(range(one, end))) for one, end in _cut(lengths)]

    def _list_layers(self, cell: Method) -> list[Read]:
        return [cell.layer] if self.trained is None else [*self.trained.layers]

    def _combine(self, place: int, cell: Method) -> Tensor:
        """Return the vectors of a cell: one layer's, or what a trained pooling makes of several."""
        layers = self._list_layers(cell)
        if self.trained is None or self.trained.spec.kind == "latent_attention":
            return self.pooled[place, layers[0]]
        rows = max(CELLS // self.trained.spec.latents, 1)
        parts = zip(*(self.pooled[place, layer].split(rows) for layer in layers), strict=True)
        return torch.cat(
            [self.trained(dict(zip(layers, p, strict=True)), lambda one: one) for p in parts]
        )


@dataclass(frozen=True, eq=False)
class HostCopy:
    """Tensors on their way to the host. Until `wait` the device may compute something else."""

    parts: list[Tensor]
    copied: Any = None  # an event of CUDA

    @classmethod
    def begin(cls, parts: Sequence[Tensor]) -> HostCopy:
        copies = [part.float().to("cpu", non_blocking=True) for part in parts]
        device = parts[0].device
        if device.type != "cuda":
            return cls(copies)
        return cls(copies, torch.cuda.current_stream(device).record_event())

    def wait(self) -> list[np.ndarray]:
        """Return the tensors as float32 arrays, once they have arrived."""
        if self.copied is not None:
            self.copied.synchronize()
        return [part.numpy() for part in self.parts]


@dataclass(frozen=True, eq=False)
class _Bags:
    """Weighted sums of states: which, where each row's begin, and the weights."""

    tokens_N: Tensor
    starts_B: Tensor
    weights_N: Tensor

    @classmethod
    def make(
        cls, tokens: np.ndarray, counts: np.ndarray, weights: np.ndarray, device: Any
    ) -> _Bags:
        starts = np.cumsum(counts) - counts
        return cls(move(tokens, device), move(starts, device), move(weights, device))

    def sum(self, states_TD: Tensor, *, once: bool = True) -> Tensor:
        """Return the sums: [B, D], float32. once: each state is in one row's sum at most, so that
        those that are in none need not become float32."""
        tokens_N = self.tokens_N
        if once:
            states_TD = states_TD[tokens_N]
            tokens_N = torch.arange(len(tokens_N), device=tokens_N.device)
        return functional.embedding_bag(
            *(tokens_N, states_TD.float(), self.starts_B),
            mode="sum",
            per_sample_weights=self.weights_N,
        )


@dataclass(frozen=True, eq=False)
class _Plan:
    """A pooling of a batch's rows, which is the same for every layer.

    single: of each row the state at one token. own: else sums over each row's tokens, some rows at
    a time. prefix: sums over the shared prefix's.
    """

    single: Tensor | None
    own: tuple[_Bags, ...] = ()
    prefix: _Bags | None = None

    @classmethod
    def make(cls, pooling: str, inputs: Inputs, states: BatchStates) -> _Plan:
        device, P, lengths = states.states_TD.device, states.prefix_length, states.lengths
        rows, places, weights = _choose_tokens(pooling, inputs, lengths)

        def count(chosen: np.ndarray) -> np.ndarray:  # how many of them each row has
            return np.bincount(rows[chosen], minlength=len(lengths))

        mine = places >= P
        tokens = states.starts[rows] + places - P
        if pooling == "last" and mine.all():
            return cls(move(tokens, device))
        own = [
            _Bags.make(tokens[part], count(part)[first:last], weights[part], device)
            for first, last in _cut(count(mine), padded=False)
            for part in [mine & (rows >= first) & (rows < last)]
        ]
        before = None
        if not mine.all():
            before = _Bags.make(places[~mine], count(~mine), weights[~mine], device)
        return cls(None, tuple(own), before)

    def apply(self, states: BatchStates) -> Tensor:
        """Return the pooled vectors: [B, D], float32."""
        if self.single is not None:
            return states.states_TD[self.single].float()
        vectors_BD = torch.cat([bags.sum(states.states_TD) for bags in self.own])
        if self.prefix is not None and states.prefix_PD is not None:
            vectors_BD += self.prefix.sum(states.prefix_PD, once=False)
        return vectors_BD


def _choose_tokens(
    pooling: str, inputs: Inputs, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of every pooled token its row, its place in the row and its weight: [N] each."""
    mask_T = np.fromiter(chain.from_iterable(inputs.pool_mask), bool, lengths.sum())
    rows = np.repeat(np.arange(len(lengths)), lengths)[mask_T]
    places = number_within(lengths)[mask_T]
    counts = np.bincount(rows, minlength=len(lengths))
    if pooling == "last":
        last = np.cumsum(counts) - 1
        return rows[last], places[last], np.ones(len(last), np.float32)
    ranks = np.ones(len(rows)) if pooling == "mean" else number_within(counts) + 1.0
    sums = np.bincount(rows, ranks, minlength=len(lengths))
    return rows, places, (ranks / sums[rows]).astype(np.float32)


def _cut(lengths: np.ndarray, *, padded: bool = True) -> list[tuple[int, int]]:
    """Return (first, last + 1) of stretches of rows that have at most CELLS positions together."""
    found, first, longest, tokens = [], 0, 0, 0
    for row, length in enumerate(lengths.tolist()):
        longest, tokens = max(longest, length), tokens + length
        if row > first and (longest * (row + 1 - first) if padded else tokens) > CELLS:
            found.append((first, row))
            first, longest, tokens = row, length, length
    return [*found, (first, len(lengths))]
