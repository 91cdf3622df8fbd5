"""Embed rows for several cells: new rows are computed once, pooled for every cell, and cached.

N rows, D hidden size, C cells. Cells are methods that build the same input and pool differently
(pooling, layer). They share one forward pass, and a row is computed only if its vector is not in
the store. Memory is bounded by a batch, the requested vectors and the store, however many layers
and texts there are.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from methods.backbone import forward
from methods.backbone.changes import differs_from_loaded
from methods.backbone.forward import resolve_layer
from methods.backbone.loader import Backbone
from methods.backbone.locks import Lock, get_lock
from methods.base import Inputs, Method
from methods.encoding.batch_pooling import BatchPooling
from methods.encoding.store import Store
from methods.encoding.vectorize import list_layers, pools_by_mask
from methods.identity import digest_class, digest_engine, make_row_key
from methods.pooling_names import identify_pooling

log = logging.getLogger(__name__)


@dataclass
class Usage:
    """What encoding a task cost. tokens: of all texts; tokens_computed: of those not in the store;
    seconds: inside the model and pooling; cut: number of truncated texts."""

    texts: int = 0
    tokens: int = 0
    tokens_computed: int = 0
    cut: int = 0
    seconds: float = 0.0


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
        self._check_ids(inputs)
        self._check_unchanged()
        usage = self.usage
        with self._counting:
            usage.texts += len(inputs)
            usage.tokens += sum(map(len, inputs.ids))
            usage.cut += len(inputs.cut)
        keys = [make_row_key(i, m) for i, m in zip(inputs.ids, inputs.pool_mask, strict=True)]
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        found: dict[bytes, Any] = dict.fromkeys(first)
        if (store := self.store) is not None:
            stored = store.get([self._keys[cell_index] + key for key in first])
            found = dict(zip(first, stored, strict=True))
        new = {key: first[key] for key, vector in found.items() if vector is None}
        if new:
            self._compute(inputs, new, cell_index, found, title)
        if len(sizes := sorted({len(found[key]) for key in keys})) > 1:
            raise ValueError(
                f"{type(self.cells[cell_index]).__name__}.pool gives vectors of {sizes} dimensions "
                f"to texts of one call; all vectors of a method have one size"
            )
        return np.stack([found[key] for key in keys])

    def _check_ids(self, inputs: Inputs) -> None:
        number = self.backbone.model.get_input_embeddings().num_embeddings
        for row, ids in enumerate(inputs.ids):
            if not 0 <= min(ids) <= max(ids) < number:
                raise ValueError(
                    f"{type(self.cells[0]).__name__}.prepare_inputs gives text {row} the token id "
                    f"{next(i for i in ids if not 0 <= i < number)}; this model has ids 0 to "
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

    def _compute(
        self,
        inputs: Inputs,
        new: dict[bytes, int],
        cell_index: int,
        found: dict[bytes, Any],
        title: str,
    ) -> None:
        """Compute new rows; put this cell's vectors into `found` and all cells' into the store."""
        keys, asked = list(new), inputs.rows(list(new.values()))
        total = sum(map(len, asked.ids))
        trained, store = self.backbone.trained_pooling, self.store
        start = time.perf_counter()
        bar = tqdm(total=total, unit="tok", unit_scale=True, desc=title, delay=3, leave=False)
        how = self.cells[0].attention
        device = self.backbone.choices["device"].partition(":")[0]
        # A caller's autocast would change vectors that are cached as those of the model's dtype.
        own = self.backbone.autocast
        autocast = torch.autocast(
            device, getattr(torch, own or "bfloat16"), enabled=own is not None
        )
        with bar, torch.inference_mode(), autocast:
            for batch, pooled_CBD in forward.forward(
                self.backbone,
                asked,
                attention=how,
                layers=self.layers,
                make_reader=lambda rows: BatchPooling(self.cells, trained, asked.rows(rows)),
            ):
                finite_B = np.all([np.isfinite(one).all(axis=1) for one in pooled_CBD], axis=0)
                for row in (batch[place] for place in np.flatnonzero(~finite_B)):
                    raise ValueError(
                        f"text {new[keys[row]]} gives a vector that is not finite "
                        f"({len(asked.ids[row])} tokens, dtype "
                        f"{self.backbone.identity['dtype']}); try model.dtype=float32"
                    )
                names = [keys[row] for row in batch]
                found |= {
                    name: v.copy() for name, v in zip(names, pooled_CBD[cell_index], strict=True)
                }
                if store is not None:
                    store.put(
                        {
                            prefix + name: vector
                            for prefix, vectors_BD in zip(self._keys, pooled_CBD, strict=True)
                            for name, vector in zip(names, vectors_BD, strict=True)
                        }
                    )
                bar.update(sum(len(asked.ids[row]) for row in batch))
        with self._counting:
            self.usage.tokens_computed += total
            self.usage.seconds += time.perf_counter() - start

    @cached_property
    def _keys(self) -> list[bytes]:
        """Return a key of 16 bytes for each cell: all that decides its vectors but the row.

        steering is None until a method changes states within the pass; it is in the key already
        because keys outlive code. How the model runs is included: in half precision another kernel
        changes scores, and turning one off to see its effect must not return its cached vectors.
        """
        how, attends = self.backbone.choices, self.cells[0].attention
        layout = self.backbone.packed_layout if attends in self.backbone.packed else None
        shared = {
            "backbone": self.backbone.identity,
            "attention": attends,
            "run": [how["device"], how["kernel"], how["linears"], layout],
            "steering": None,
            "code": digest_engine(),
            "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        }
        described = [{**shared, "layer": c.layer, "pool": _pool_identity(c)} for c in self.cells]
        texts = [json.dumps(d, sort_keys=True, default=str).encode() for d in described]
        return [hashlib.blake2b(text, digest_size=16).digest() for text in texts]


def _pool_identity(cell: Method) -> Any:
    """Return what decides how a cell pools: the pooling's name, or the method's code and fields."""
    if pools_by_mask(type(cell)):
        return identify_pooling(cell.pooling)
    values = {f.name: getattr(cell, f.name) for f in fields(cell) if f.name != "normalize"}
    values["pooling"] = identify_pooling(cell.pooling)
    return [digest_class(type(cell)), values]
