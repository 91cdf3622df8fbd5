"""Encoder: a backbone and a method, for people who want vectors and for mteb alike.

N texts, D hidden size, C cells. Cells are methods that read the same and pool differently (pooling,
layer): they share one forward pass, whose pooled vectors are kept until the job ends or memory runs
out, so that a text that comes again, in another task or for another cell, is not read again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import torch
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from tqdm import tqdm

from methods.backbone.forward import forward, resolve_layer
from methods.backbone.loader import Backbone
from methods.base import Inputs, Method, PromptType
from methods.evaluation.instructions import Instructions

log = logging.getLogger(__name__)
MEMORY_BYTES = 2 << 30


@dataclass
class Usage:
    """What a task cost. tokens: of every text asked for; tokens_computed: of those that were not
    known yet; seconds: inside the model and pooling; cut: texts shortened to fit."""

    texts: int = 0
    tokens: int = 0
    tokens_computed: int = 0
    cut: int = 0
    seconds: float = 0.0


@dataclass
class SharedPass:
    """The vectors of all cells of a job, from one forward pass over each distinct row.

    The key of a row is what the model reads and what may be pooled: (ids, pool mask, steering). The
    last is None until a method intervenes in the pass; it stands here because keys outlive code.
    """

    backbone: Backbone
    cells: Sequence[Method]
    usage: Usage = field(default_factory=Usage)
    memory_bytes: int = MEMORY_BYTES
    _known: dict[tuple[Any, ...], np.ndarray] = field(default_factory=dict)
    _bytes: int = 0

    def __post_init__(self) -> None:
        layers = [resolve_layer(cell.layer, self.backbone.num_layers) for cell in self.cells]
        self.cells = [replace(c, layer=at) for c, at in zip(self.cells, layers, strict=True)]

    def vectors(self, inputs: Inputs, cell: int, *, title: str = "") -> np.ndarray:
        """Un-normalised float32 vectors [N, D] of one cell; computes all cells of what is new."""
        keys = [
            (tuple(ids), tuple(mask), None)
            for ids, mask in zip(inputs.ids, inputs.pool_mask, strict=True)
        ]
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        new = [row for key, row in first.items() if key not in self._known]
        self.usage.texts += len(keys)
        self.usage.tokens += sum(map(len, inputs.ids))
        self.usage.cut += len(inputs.cut)
        if not keys:
            return np.zeros((0, self.backbone.model.config.hidden_size), dtype=np.float32)
        fresh = self._compute(inputs, new, title)
        found = {key: self._known[key] if key in self._known else fresh[key] for key in first}
        self._remember(fresh)
        return np.stack([found[key][cell] for key in keys])

    def _compute(
        self, inputs: Inputs, rows: Sequence[int], title: str
    ) -> dict[tuple[Any, ...], np.ndarray]:
        asked = inputs.rows(rows)
        total = sum(map(len, asked.ids))
        layers = sorted({cell.layer for cell in self.cells})
        fresh = {}
        start = time.perf_counter()
        bar = tqdm(total=total, unit="tok", unit_scale=True, desc=title, delay=3, leave=False)
        attention = self.cells[0].attention
        with bar, torch.inference_mode():
            for batch, states in forward(self.backbone, asked, attention=attention, layers=layers):
                part = asked.rows(batch)
                pooled = [cell.pool(states[cell.layer], part) for cell in self.cells]
                stack_BCD = torch.stack(pooled, dim=1).float().cpu().numpy()
                for place, row in enumerate(batch):
                    vector_CD = stack_BCD[place]
                    if not np.isfinite(vector_CD).all():
                        raise ValueError(
                            f"text {rows[row]} gives a vector that is not finite "
                            f"({len(asked.ids[row])} tokens, dtype "
                            f"{self.backbone.identity['dtype']}); try model.dtype=float32"
                        )
                    fresh[tuple(asked.ids[row]), tuple(asked.pool_mask[row]), None] = vector_CD
                bar.update(sum(len(asked.ids[row]) for row in batch))
        self.usage.tokens_computed += total
        self.usage.seconds += time.perf_counter() - start
        return fresh

    def _remember(self, fresh: dict[tuple[Any, ...], np.ndarray]) -> None:
        """Keep what was computed; when memory is full, let the oldest go."""
        for key, vector in fresh.items():
            self._known[key] = vector
            self._bytes += vector.nbytes + 48 * len(key[0])
        while self._bytes > self.memory_bytes and self._known:
            key = next(iter(self._known))
            self._bytes -= self._known.pop(key).nbytes + 48 * len(key[0])


class Encoder(AbsEncoder):
    """A method on a backbone: `encode` texts, or hand the encoder itself to mteb.

    backbone: `.model`, `.tokenizer`. method: its fields. Both are public.
    """

    def __init__(
        self,
        backbone: Backbone,
        method: Method,
        *,
        instructions: Instructions | None = None,
        meta: ModelMeta | None = None,
        shared: SharedPass | None = None,
        cell: int = 0,
    ) -> None:
        backbone.require(method.attention)
        self.backbone, self.method = backbone, method
        self.instructions = instructions or Instructions()
        self.model = backbone.model
        self.mteb_model_meta = meta or model_meta(backbone.identity["name"])
        self.shared, self.cell = shared or SharedPass(backbone, [method], memory_bytes=0), cell

    def encode(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        inputs: Any,
        *,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
        task_metadata: Any = None,
        hf_split: str | None = None,
        hf_subset: str | None = None,
        **_mteb_options: Any,
    ) -> np.ndarray:
        """Vectors [N, D], float32, in the order given; unit length only if the method normalises.

        inputs: a list of texts; or, called by mteb with `task_metadata`, its batches, and then the
        instruction is the task's. Raises ValueError for a vector that is not finite.
        """
        if task_metadata is None:
            texts, task_type, title = _listed(inputs), "", type(self.method).__name__
        else:
            texts = [text for batch in inputs for text in batch["text"]]
            task_type = task_metadata.type
            prompt_type = getattr(prompt_type, "value", prompt_type)  # mteb's is an enum
            if task_type in self.method.queries_only:
                prompt_type = None
            if self.method.instructed and prompt_type != "document":
                instruction = self.method.phrase_instruction(self.instructions.find(task_metadata))
            title = f"{type(self.method).__name__} {task_metadata.name}"
        if prompt_type not in (None, *get_args(PromptType)):
            raise ValueError(
                f"prompt_type {prompt_type!r} is unknown; valid: query, document, None"
            )
        rows = self.method.prepare_inputs(
            texts,
            tokenizer=self.backbone.tokenizer,
            prompt_type=prompt_type,
            instruction=instruction,
        )
        vectors_ND = self.shared.vectors(rows, self.cell, title=title)
        if self.method.normalize and task_type not in self.method.unnormalized:
            vectors_ND = vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        return vectors_ND


def model_meta(
    name: str, *, revision: str = "local", experiment: dict[str, Any] | None = None
) -> ModelMeta:
    """mteb's description of a model it does not know; cosine similarity, text only."""
    return ModelMeta.create_empty(
        {
            "name": name,
            "revision": revision,
            "experiment_kwargs": experiment,
            "similarity_fn_name": ScoringFunction.COSINE,
            "modalities": ["text"],
        }
    )


def _listed(texts: Any) -> list[str]:
    if isinstance(texts, str):
        raise ValueError("encode takes a list of texts; for one text pass [text]")
    texts = list(texts)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"text {index} is {type(text).__name__}, not a string")
    return texts
