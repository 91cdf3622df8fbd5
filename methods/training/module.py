"""A method as a sentence-transformers module: token ids in, the method's own vectors out.

B rows, L positions, D hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from sentence_transformers.base.modules import Module
from torch import Tensor

from methods.backbone.forward import hidden_states
from methods.backbone.loader import Backbone
from methods.base import Inputs, Method, tokenize
from methods.encoding.vectorize import embed, list_layers


class MethodModule(Module):
    """A backbone and a method: `sentence_embedding` [B, D], float32, not normalised.

    model: the backbone's, or what wraps it (PEFT). packed: texts end to end, where that is
    possible; gradient checkpointing and attention dropout need padded rows.
    """

    def __init__(self, backbone: Backbone, method: Method, model: Any, *, packed: bool) -> None:
        super().__init__()
        self.model, self.pooler = model, backbone.trained_pooling
        self.backbone, self.method, self.packed = backbone, method, packed

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        lengths = features["attention_mask"].sum(1).tolist()
        rows = [
            (ids[:length], mask[:length])
            for ids, mask, length in zip(
                features["input_ids"].tolist(), features["pool_mask"].tolist(), lengths, strict=True
            )
        ]
        inputs = Inputs([ids for ids, _ in rows], [mask for _, mask in rows])
        states = hidden_states(
            self.backbone,
            inputs.ids,
            attention=self.method.attention,
            packed=self.packed,
            layers=list_layers(self.method, self.pooler),
        )
        features["sentence_embedding"] = embed(self.method, self.pooler, states, inputs)
        return features

    def get_embedding_dimension(self) -> int:
        """D."""
        return self.backbone.model.config.get_text_config().hidden_size

    def preprocess(self, texts: Sequence[str], **_: Any) -> dict[str, Tensor]:
        """Symmetric texts without instruction, padded."""
        return padded(self.method.prepare_inputs(texts, tokenizer=self.backbone.tokenizer))

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Weights are kept as PEFT adapters (trainer.py)."""


def padded(inputs: Inputs) -> dict[str, Tensor]:
    """Ids, attention mask and pool mask as tensors [B, L], padded on the right."""
    length = max(map(len, inputs.ids))
    ids = [row + [0] * (length - len(row)) for row in inputs.ids]
    seen = [[1] * len(row) + [0] * (length - len(row)) for row in inputs.ids]
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor(seen),
        "pool_mask": inputs.mask(length),
    }


@dataclass
class Collator:
    """Rows of data -> what the module reads, a group of tensors for every column of texts.

    text_tokens: query, document -> tokens that a raw text is cut to first. phrase: how a row's
    instruction is put, with `{}` for it; None for as evaluation does.
    """

    method: Method
    tokenizer: Any
    text_tokens: Mapping[str, int] = field(default_factory=dict)
    phrase: str | None = None
    valid_label_columns: Sequence[str] = ()  # sentence-transformers asks for it
    tokens: int = 0  # handed out so far

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        columns = [c for c in rows[0] if c in ("query", "positive") or c.startswith("negative")]
        features = {}
        for column in columns:
            side = "query" if column == "query" else "document"
            inputs = self._inputs([row[column] for row in rows], rows, side)
            self.tokens += sum(map(len, inputs.ids))
            features |= {f"{column}_{name}": part for name, part in padded(inputs).items()}
        return features

    def _inputs(self, texts: list[str], rows: Sequence[Mapping[str, Any]], side: Any) -> Inputs:
        if (limit := self.text_tokens.get(side)) is not None:
            texts = [self._shortened(text, limit) for text in texts]
        ids: list[Any] = [None] * len(texts)
        masks: list[Any] = [None] * len(texts)
        ways = [(row.get("instruction") or None, bool(row.get("symmetric"))) for row in rows]
        for instruction, symmetric in dict.fromkeys(ways):
            places = [i for i, way in enumerate(ways) if way == (instruction, symmetric)]
            if instruction:
                phrased = self.phrase and self.phrase.format(instruction)
                instruction = phrased or self.method.phrase_instruction(instruction)
            inputs = self.method.prepare_inputs(
                [texts[i] for i in places],
                tokenizer=self.tokenizer,
                prompt_type=None if symmetric else side,
                instruction=instruction,
            )
            for place, own, mask in zip(places, inputs.ids, inputs.pool_mask, strict=True):
                ids[place], masks[place] = own, mask
        return Inputs(ids, masks)

    def _shortened(self, text: str, limit: int) -> str:
        ids = tokenize([text], tokenizer=self.tokenizer)[0]
        return text if len(ids) <= limit else self.tokenizer.decode(ids[:limit])
