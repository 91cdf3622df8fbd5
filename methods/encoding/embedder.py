"""Embed rows for several cells: new rows are computed once, pooled for every cell, and cached.

N rows, D hidden size, K layers of a vector. Cells are methods that build the same input and pool
differently (pooling, layer). They share one forward pass, and a row is computed only if its vector
is not in the store. Memory is bounded by a batch, the requested vectors and the store, however many
layers and texts there are.

Rows are what is computed, cached and never computed twice. Where a method makes several of a text,
or reads several layers, its vectors are made of the pooled rows afterwards (`combine`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from methods.backbone import forward
from methods.backbone.changes import differs_from_loaded
from methods.backbone.layers import order_read, resolve_layer
from methods.backbone.loader import Backbone
from methods.backbone.locks import Lock, get_lock
from methods.backbone.steering import Steering
from methods.base import Inputs, Method, Read
from methods.encoding.batch_pooling import BatchPooling, HostCopy
from methods.encoding.call import Batch, Call, End, Usage
from methods.encoding.chunks import Chunk, hold_back, split_kinds
from methods.encoding.combination import combine_rows
from methods.encoding.store import Store
from methods.encoding.vector_keys import make_cell_keys, make_row_keys
from methods.encoding.vectorize import at_layer, list_layers, make_steering

log = logging.getLogger(__name__)
AHEAD = 2  # batches that a card is given before the vectors of one are waited for


@dataclass
class Embedder:
    """Vectors of all cells of a job, from one forward pass over each distinct row.

    reads: what is pooled of a row, each a method at one layer; by_cell: which of them a cell needs.
    store: where pooled vectors are cached between calls (store.py); None for nowhere. It is not
        used once the model was changed, since its keys describe the model as it was loaded.
    Threads may share an Embedder; `usage` then counts all of them.
    """

    backbone: Backbone
    cells: Sequence[Method]
    store: Store | None = None
    usage: Usage = field(default_factory=Usage)
    reads: list[Method] = field(init=False)
    by_cell: list[list[int]] = field(init=False)
    layers: list[Read] = field(init=False)
    steering: Steering | None = field(init=False)
    _counting: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        number, trained = self.backbone.num_layers, self.backbone.trained_pooling
        layers = [resolve_layer(cell.layer, number) for cell in self.cells]
        self.cells = [replace(c, layer=at) for c, at in zip(self.cells, layers, strict=True)]
        needed = [list_layers(cell, trained, number) for cell in self.cells]
        self.layers = sorted({read for own in needed for read in own}, key=order_read)
        self.reads, self.by_cell = [], []
        for cell, own in zip(self.cells, needed, strict=True):
            wanted = [cell] if trained else [at_layer(cell, read) for read in own]
            for read in wanted:
                if read not in self.reads:
                    self.reads.append(read)
            self.by_cell.append([self.reads.index(read) for read in wanted])
        self.steering = make_steering(self.cells[0], number)
        self._check_unchanged()

    @property
    def rows_per_text(self) -> int:
        """Return how many rows a text has, which is the same for all cells."""
        return self.cells[0].rows_per_text

    def vectors(self, inputs: Inputs, cell_index: int, *, title: str = "") -> np.ndarray:
        """Return un-normalised float32 vectors [N, D] of one cell for the rows of N texts, N > 0.

        What is not cached is computed for all cells. Raises ValueError for token ids the model
        lacks and vectors that are not finite.
        """
        chunk = Chunk(range(len(inputs) // self.rows_per_text), inputs)
        ((_, vectors_ND),) = self.stream([chunk], cell_index, title=title)
        return vectors_ND

    def compute_rows(self, inputs: Inputs, *, title: str = "") -> None:
        """Compute rows as `vectors` does, each as a text of its own: to measure what they take."""
        chunk = Chunk(range(len(inputs)), inputs)
        for _ in self._stream_rows([chunk], Call(0, title)):
            pass

    def stream(
        self, chunks: Iterable[Chunk], cell_index: int, *, title: str = ""
    ) -> Iterator[tuple[Chunk, np.ndarray]]:
        """Yield every chunk of a call with its vectors, as `vectors` returns them, in order."""
        cell, call = self.cells[cell_index], Call(cell_index, title, each=self.rows_per_text)
        for chunk, rows_KD in self._stream_rows(chunks, call):
            call.check_sizes(rows_KD, type(cell).__name__)
            yield chunk, combine_rows(cell, rows_KD, chunk.places)

    def _stream_rows(
        self, chunks: Iterable[Chunk], call: Call
    ) -> Iterator[tuple[Chunk, list[np.ndarray]]]:
        """Yield every chunk with its pooled rows, [K, D] each.

        On CUDA the next batches are launched, and the next chunk is taken from `chunks`, before a
        batch's vectors are waited for.
        """
        self._check_unchanged()
        with closing(call):
            ahead = 0 if self.backbone.choices["device"] == "cpu" else AHEAD
            steps = self._launch(chunks, call)
            for step in hold_back(steps, ahead, lambda step: isinstance(step, Batch)):
                if isinstance(step, Batch):
                    self._take(step, call)
                else:
                    yield step.chunk, [call.found[key] for key in step.keys]
        with self._counting:
            self.usage.tokens_computed += call.tokens
            self.usage.seconds += time.perf_counter() - (call.started or time.perf_counter())

    def _launch(self, chunks: Iterable[Chunk], call: Call) -> Iterator[Batch | End]:
        """Yield the batches of all rows that must be computed, and the end of every chunk."""
        for chunk in chunks:
            inputs = chunk.inputs
            number = self.backbone.model.get_input_embeddings().num_embeddings
            chunk.check_ids(number, type(self.cells[0]).__name__)
            with self._counting:
                self.usage.texts += len(chunk.places)
                self.usage.tokens += sum(map(len, inputs.ids))
                self.usage.cut += len({row // call.each for row in inputs.cut})
            keys = make_row_keys(inputs, self.cells[0])
            call.share += chunk.share
            if new := self._find_new(keys, call):
                yield from self._run(chunk, new, call)
            yield End(chunk, keys)

    def _find_new(self, keys: list[bytes], call: Call) -> dict[bytes, int]:
        """Return the keys that neither this call nor the store knows, each with a row; put the
        vectors of those that the store knows into `call.found`."""
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        asked = [key for key in first if key not in call.found]
        call.found |= zip(asked, self._get_stored(asked, call.cell_index), strict=True)
        new = {key: first[key] for key in asked if call.found[key] is None}
        if self.steering is None:
            return new
        each = call.each  # all rows of a text are computed together
        texts = sorted({row // each for row in new.values()})
        return {keys[row]: row for at in texts for row in range(at * each, (at + 1) * each)}

    def _get_stored(self, keys: Sequence[bytes], cell_index: int) -> list[np.ndarray | None]:
        """Return of each row what the store has of this cell, [K, D], or None."""
        if self.store is None:
            return [None] * len(keys)
        prefixes = [self._keys[read] for read in self.by_cell[cell_index]]
        found = [self.store.get([prefix + key for key in keys]) for prefix in prefixes]
        return [
            None if any(one is None for one in row) else np.stack(row)  # pyright: ignore
            for row in zip(*found, strict=True)
        ]

    def _run(self, chunk: Chunk, new: dict[bytes, int], call: Call) -> Iterator[Batch]:
        """Compute new rows; yield each batch as soon as it is launched."""
        keys, rows = list(new), list(new.values())
        call.add(sum(len(chunk.inputs.ids[row]) for row in rows))
        for places in split_kinds(rows, 1 if self.steering else call.each):
            kind = [keys[place] for place in places], [rows[place] for place in places]
            yield from self._run_kind(chunk, *kind, each=call.each)

    def _run_kind(
        self, chunk: Chunk, keys: list[bytes], rows: list[int], *, each: int
    ) -> Iterator[Batch]:
        """Compute rows that may begin alike, so that this is computed once."""
        asked, trained = chunk.inputs.rows(rows), self.backbone.trained_pooling
        passes = forward.forward(
            self.backbone,
            asked,
            attention=self.cells[0].attention,
            layers=self.layers,
            make_reader=lambda batch: BatchPooling(self.reads, trained, asked.rows(batch)),
            steering=self.steering,
        )
        own = self.backbone.autocast
        kind = self.backbone.choices["device"].partition(":")[0]
        while True:
            # A caller's autocast would change vectors that are stored as those of this dtype.
            with torch.autocast(kind, getattr(torch, own or "bfloat16"), enabled=own is not None):
                batch, copy = next(passes, ([], HostCopy([])))
            if not batch:
                return
            yield Batch(
                keys=[keys[row] for row in batch],
                places=[chunk.places[rows[row] // each] for row in batch],
                lengths=[len(asked.ids[row]) for row in batch],
                vectors=copy,
            )

    def _take(self, batch: Batch, call: Call) -> None:
        """Put a batch's vectors of this cell into `call.found`, those of all cells into the store.

        Raises ValueError for a vector that is not finite.
        """
        pooled_CBD = batch.vectors.wait()
        finite_B = np.all([np.isfinite(one).all(axis=1) for one in pooled_CBD], axis=0)
        for row in np.flatnonzero(~finite_B):
            raise ValueError(
                f"text {batch.places[row]} gives a vector that is not finite "
                f"({batch.lengths[row]} tokens, dtype {self.backbone.identity['dtype']}); try "
                f"model.dtype=float32"
            )
        own_BKD = np.stack([pooled_CBD[read] for read in self.by_cell[call.cell_index]], axis=1)
        call.found |= {key: own_BKD[row].copy() for row, key in enumerate(batch.keys)}
        if self.store is not None:
            self.store.put(
                {
                    prefix + key: vector
                    for prefix, vectors_BD in zip(self._keys, pooled_CBD, strict=True)
                    for key, vector in zip(batch.keys, vectors_BD, strict=True)
                }
            )
        call.done(sum(batch.lengths))

    def _check_unchanged(self) -> None:
        """Stop using the store if its keys no longer describe the model."""
        if self.store is None:
            return
        with get_lock(self.backbone.model):  # a pass in another thread sets hooks of its own
            changed = differs_from_loaded(self.backbone.model)
        if changed:
            self.store = None
            log.warning(
                "the model was changed after it was loaded (weights, hooks or training mode): the "
                "embedding cache is not used from here on"
            )

    @cached_property
    def _keys(self) -> list[bytes]:
        return make_cell_keys(self.backbone, self.reads)
