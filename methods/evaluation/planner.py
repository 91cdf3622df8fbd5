"""From cells to passes: what is new of what is asked, read once, pooled for every cell, and kept.

N rows asked for, U distinct ones, D hidden size, C cells. Cells are methods that read the same and
pool differently (pooling, layer). They share one forward pass, and a row is read again only if its
vectors are in no store. Memory is bounded by a batch, the vectors asked for and the store, however
many layers and texts there are.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import logging
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from methods import base, pooling
from methods.backbone import attention, forward, kernels, linears, packed, pooler
from methods.backbone.cache import Store, code_digest, row_key
from methods.backbone.changes import changed_since_load
from methods.backbone.forward import resolve_layer
from methods.backbone.loader import Backbone
from methods.backbone.locks import Lock, lock_of
from methods.backbone.pooler import embed, layers_of
from methods.base import Inputs, Method
from methods.evaluation.records import code_fingerprint

log = logging.getLogger(__name__)
STANDARD_POOL = "return pool_inputs(hidden_BLD, inputs, self.pooling)"


@dataclass
class Usage:
    """What a task cost. tokens: of every text asked for; tokens_computed: of those that were in no
    store; seconds: inside the model and pooling; cut: texts shortened to fit."""

    texts: int = 0
    tokens: int = 0
    tokens_computed: int = 0
    cut: int = 0
    seconds: float = 0.0


@dataclass
class SharedPass:
    """The vectors of all cells of a job, from one forward pass over each distinct row.

    store: where pooled vectors are kept between calls (backbone/cache.py); None keeps none. It is
        not used once the model was changed, since its keys describe the model as it was loaded.
    Threads may share a SharedPass; `usage` then counts all of them.
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
        needed = {layer for cell in self.cells for layer in layers_of(cell, self.backbone.pooler)}
        self.layers = sorted(needed)
        self._check_unchanged()

    def vectors(self, inputs: Inputs, cell: int, *, title: str = "") -> np.ndarray:
        """Un-normalised float32 vectors [N, D] of one cell, N > 0; computes all cells of what is
        new. Raises ValueError for token ids the model lacks and vectors that are not finite."""
        self._check_ids(inputs)
        self._check_unchanged()
        usage = self.usage
        with self._counting:
            usage.texts += len(inputs)
            usage.tokens += sum(map(len, inputs.ids))
            usage.cut += len(inputs.cut)
        keys = [row_key(i, m) for i, m in zip(inputs.ids, inputs.pool_mask, strict=True)]
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        found: dict[bytes, Any] = dict.fromkeys(first)
        if (store := self.store) is not None:
            stored = store.get([self._keys[cell] + key for key in first])
            found = dict(zip(first, stored, strict=True))
        new = {key: first[key] for key, vector in found.items() if vector is None}
        if new:
            self._compute(inputs, new, cell, found, title)
        if len(sizes := sorted({len(found[key]) for key in keys})) > 1:
            raise ValueError(
                f"{type(self.cells[cell]).__name__}.pool gives vectors of {sizes} dimensions to "
                f"texts of one call; all vectors of a method have one size"
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
        """Give up the store if its keys no longer describe the model."""
        if self.store is None:
            return
        with lock_of(self.backbone.model):  # a pass in another thread sets hooks of its own
            changed = changed_since_load(self.backbone.model)
        if changed:
            self.store = None
            log.warning(
                "the model was changed after it was loaded (weights, hooks or training mode): from "
                "here on its vectors are neither taken from the embedding cache nor put into it"
            )

    def _compute(
        self, inputs: Inputs, new: dict[bytes, int], cell: int, found: dict[bytes, Any], title: str
    ) -> None:
        """Read new rows; put this cell's vectors into `found` and all cells' into the store."""
        keys, asked = list(new), inputs.rows(list(new.values()))
        total = sum(map(len, asked.ids))
        trained, store = self.backbone.pooler, self.store
        start = time.perf_counter()
        bar = tqdm(total=total, unit="tok", unit_scale=True, desc=title, delay=3, leave=False)
        how = self.cells[0].attention
        with bar, torch.inference_mode():
            for batch, states in forward.forward(
                self.backbone, asked, attention=how, layers=self.layers
            ):
                part = asked.rows(batch)
                states = {layer: kept.float() for layer, kept in states.items()}  # once, not a cell
                pooled_CBD = [  # copies: a view would keep a batch's states in memory
                    embed(one, trained, states, part).float().cpu().numpy().copy()
                    for one in self.cells
                ]
                finite_B = np.all([np.isfinite(one).all(axis=1) for one in pooled_CBD], axis=0)
                for row in (batch[place] for place in np.flatnonzero(~finite_B)):
                    raise ValueError(
                        f"text {new[keys[row]]} gives a vector that is not finite "
                        f"({len(asked.ids[row])} tokens, dtype "
                        f"{self.backbone.identity['dtype']}); try model.dtype=float32"
                    )
                names = [keys[row] for row in batch]
                found |= {name: v.copy() for name, v in zip(names, pooled_CBD[cell], strict=True)}
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
        """What tells a cell's vectors from another's, rows aside: 16 bytes a cell.

        steering is None until a method intervenes in the pass; it stands here because keys outlive
        code. How the model runs is part of it: in half precision another kernel moves scores, and
        whoever turns one off to see what it does must not be handed its vectors.
        """
        how, attends = self.backbone.choices, self.cells[0].attention
        shared = {
            "backbone": self.backbone.identity,
            "attention": attends,
            "run": [how["device"], how["kernel"], how["linears"], attends in self.backbone.packed],
            "steering": None,
            "code": _engine_code(),
            "transformers": version("transformers"),
        }
        described = [{**shared, "layer": c.layer, "pool": _pool_identity(c)} for c in self.cells]
        texts = [json.dumps(d, sort_keys=True, default=str).encode() for d in described]
        return [hashlib.blake2b(text, digest_size=16).digest() for text in texts]


@cache
def _engine_code() -> str:
    return code_digest(base, pooling, attention, forward, packed, kernels, linears, pooler)


def _pool_identity(cell: Method) -> Any:
    """How a cell pools: by name where its method pools as all do, else all that it is."""
    if _pools_as_all_do(type(cell)):
        return cell.pooling
    values = {f.name: getattr(cell, f.name) for f in fields(cell) if f.name != "normalize"}
    return [code_fingerprint(type(cell)), values]


@cache
def _pools_as_all_do(method: type[Method]) -> bool:
    pool: Any = method.pool
    function: Any = ast.parse(textwrap.dedent(inspect.getsource(pool))).body[0]
    ours = pool.__globals__.get("pool_inputs") is base.pool_inputs
    return ours and [ast.unparse(line) for line in function.body] == [STANDARD_POOL]
