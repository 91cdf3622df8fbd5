"""Encoder: a backbone and a method, for people who want vectors and for mteb alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction

from methods.backbone.loader import Backbone
from methods.base import Method, PromptType
from methods.evaluation.instructions import Instructions
from methods.evaluation.planner import SharedPass


class Encoder(AbsEncoder):
    """A method on a backbone: `encode` texts, or hand the encoder itself to mteb.

    backbone: `.model`, `.tokenizer`. method: its fields. Both are public.
    watch: shown the vectors of every task, with split and subset (geometry.py).
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
        watch: Callable[[np.ndarray, str | None, str | None], None] | None = None,
    ) -> None:
        backbone.require(method.attention)
        self.backbone, self.method = backbone, method
        self.instructions = instructions or Instructions()
        self.model = backbone.model
        self.mteb_model_meta = meta or model_meta(backbone.identity["name"])
        self.shared, self.cell = shared or SharedPass(backbone, [method]), cell
        self.watch = watch

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
        if self.watch and task_metadata is not None:
            self.watch(vectors_ND, hf_split, hf_subset)
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
