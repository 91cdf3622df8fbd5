"""Embed rows for several cells: new rows are computed once, pooled for every cell, and cached.

N rows, D hidden size, C cells. Cells are methods that build the same input and pool differently
(pooling, layer). They share one forward pass, and a row is computed only if its vector is not in
the store. Memory is bounded by a batch, the requested vectors and the store, however many layers
and texts there are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from methods.backbone import forward
from methods.backbone.changes import differs_from_loaded
from methods.backbone.forward import resolve_layer
from methods.backbone.loader import Backbone
from methods.backbone.locks import Lock, get_lock
from methods.base import Inputs, Method
from methods.encoding.batch_pooling import BatchPooling, HostCopy
from methods.encoding.call import Batch, Call, End
from methods.encoding.chunks import Chunk, hold_back
from methods.encoding.store import Store
from methods.encoding.vector_keys import make_cell_keys
from methods.encoding.vectorize import list_layers
from methods.identity import make_row_key

log = logging.getLogger(__name__)
AHEAD = 2  # batches that a card is given before the vectors of one are waited for


@dataclass
class Usage:
    """What encoding a task cost. tokens: of all texts; tokens_computed: of those not in the store;
    seconds: from the first forward pass to the last vector; cut: number of truncated texts.
    vector_bytes: of one vector, as it would be stored."""

    texts: int = 0
    tokens: int = 0
    tokens_computed: int = 0
    cut: int = 0
    seconds: float = 0.0
    vector_bytes: int | None = None


@dataclass
class Embedder:
    """Vectors of all cells of a job, from one forward pass over each distinct row.

    store: where pooled vectors are cached between calls (store.py); None for nowhere. It is not
        used once the model was changed, since its keys describe the model as it was loaded.
    Threads may share an Embedder; `usage` then counts all of them.
    """

    backbone: Backbone
    cells: Sequence[Method]
    store: Store | None = None
    usage: Usage = field(default_factory=Usage)
    layers: list[int] = field(init=False)
    _counting: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        layers = [resolve_layer(cell.layer, self.backbone.num_layers) for cell in self.cells]
        self.cells = [replace(c, layer=at) for c, at in zip(self.cells, layers, strict=True)]
        needed = {
            layer
            for cell in self.cells
            for layer in list_layers(cell, self.backbone.trained_pooling)
        }
        self.layers = sorted(needed)
        self._check_unchanged()

    def vectors(self, inputs: Inputs, cell_index: int, *, title: str = "") -> np.ndarray:
        """Return un-normalised float32 vectors [N, D] of one cell, N > 0.

        What is not cached is computed for all cells. Raises ValueError for token ids the model
        lacks and vectors that are not finite.
        """
        chunk = Chunk(range(len(inputs)), inputs)
        ((_, vectors_ND),) = self.stream([chunk], cell_index, title=title)
        return vectors_ND

    def stream(
        self, chunks: Iterable[Chunk], cell_index: int, *, title: str = ""
    ) -> Iterator[tuple[Chunk, np.ndarray]]:
        """Yield every chunk of a call with its vectors, as `vectors` returns them, in order.

        On CUDA the next batches are launched, and the next chunk is taken from `chunks`, before a
        batch's vectors are waited for.
        """
        self._check_unchanged()
        with closing(Call(cell_index, title)) as call:
            ahead = 0 if self.backbone.choices["device"] == "cpu" else AHEAD
            steps = self._launch(chunks, call)
            for step in hold_back(steps, ahead, lambda step: isinstance(step, Batch)):
                if isinstance(step, Batch):
                    self._take(step, call)
                else:
                    yield step.chunk, self._collect(step, call)
        with self._counting:
            self.usage.tokens_computed += call.tokens
            self.usage.seconds += time.perf_counter() - (call.started or time.perf_counter())

    def _launch(self, chunks: Iterable[Chunk], call: Call) -> Iterator[Batch | End]:
        """Yield the batches of all rows that must be computed, and the end of every chunk."""
        for chunk in chunks:
            inputs = chunk.inputs
            self._check_ids(chunk)
            with self._counting:
                self.usage.texts += len(inputs)
                self.usage.tokens += sum(map(len, inputs.ids))
                self.usage.cut += len(inputs.cut)
            keys = [make_row_key(i, m) for i, m in zip(inputs.ids, inputs.pool_mask, strict=True)]
            call.share += chunk.share
            if new := self._find_new(keys, call):
                yield from self._run(chunk, new, call)
            yield End(chunk, keys)

    def _find_new(self, keys: list[bytes], call: Call) -> dict[bytes, int]:
        """Return the keys that neither this call nor the store knows, each with a row; put the
        vectors of those that the store knows into `call.found`."""
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        asked = [key for key in first if key not in call.found]
        stored: Sequence[Any] = [None] * len(asked)
        if self.store is not None:
            prefix = self._keys[call.cell_index]
            stored = self.store.get([prefix + key for key in asked])
        call.found |= zip(asked, stored, strict=True)
        return {key: first[key] for key in asked if call.found[key] is None}

    def _run(self, chunk: Chunk, new: dict[bytes, int], call: Call) -> Iterator[Batch]:
        """Compute new rows; yield each batch as soon as it is launched."""
        keys, rows = list(new), list(new.values())
        asked, trained = chunk.inputs.rows(rows), self.backbone.trained_pooling
        call.add(sum(map(len, asked.ids)))
        passes = forward.forward(
            self.backbone,
            asked,
            attention=self.cells[0].attention,
            layers=self.layers,
            make_reader=lambda batch: BatchPooling(self.cells, trained, asked.rows(batch)),
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
                places=[chunk.places[rows[row]] for row in batch],
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
        own_BD = pooled_CBD[call.cell_index]
        call.found |= {key: v.copy() for key, v in zip(batch.keys, own_BD, strict=True)}
        if self.store is not None:
            self.store.put(
                {
                    prefix + key: vector
                    for prefix, vectors_BD in zip(self._keys, pooled_CBD, strict=True)
                    for key, vector in zip(batch.keys, vectors_BD, strict=True)
                }
            )
        call.done(sum(batch.lengths))

    def _collect(self, end: End, call: Call) -> np.ndarray:
        """Return a chunk's vectors: [N, D]. Raises ValueError for vectors of several sizes."""
        vectors = [call.found[key] for key in end.keys]
        call.sizes |= set(map(len, vectors))
        if len(call.sizes) > 1:
            raise ValueError(
                f"{type(self.cells[call.cell_index]).__name__}.pool gives vectors of "
                f"{sorted(call.sizes)} dimensions to texts of one call; all vectors of a method "
                f"have one size"
            )
        return np.stack(vectors)

    def _check_ids(self, chunk: Chunk) -> None:
        number = self.backbone.model.get_input_embeddings().num_embeddings
        for place, ids in zip(chunk.places, chunk.inputs.ids, strict=True):
            if not 0 <= min(ids) <= max(ids) < number:
                raise ValueError(
                    f"{type(self.cells[0]).__name__}.prepare_inputs gives text {place} the token "
                    f"id {next(i for i in ids if not 0 <= i < number)}; this model has ids 0 to "
                    f"{number - 1}: take ids from the tokenizer it is handed"
                )

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
        return make_cell_keys(self.backbone, self.cells)
