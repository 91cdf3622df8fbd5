"""Wrap a method as a sentence-transformers module: token ids in, the method's own vectors out.

Why a batch goes from lists to tensors and back: `prepare_inputs` gives lists of unequal length, and
the backbone packs or pads such lists itself, in training as in evaluation. Between the two stands
sentence-transformers, whose losses cut and join batches as tensors. So the collator pads (`pad`),
and `MethodModule.forward` cuts the padding off again.

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
    """Encode with a backbone and a method: `sentence_embedding` [B, D], float32, not normalised.

    model: the backbone's own, or PEFT's wrapper of it. It is not called: PEFT replaced the layers
        of `backbone.model` in place, so the backbone's own forward pass runs through the adapters,
        exactly as in evaluation. It is an attribute so that its parameters are this module's, which
        the optimizer, DistributedDataParallel and FSDP look for.
    packed: packed sequences where possible; gradient checkpointing and attention dropout need
        padded rows.
    """

    def __init__(self, backbone: Backbone, method: Method, model: Any, *, packed: bool) -> None:
        super().__init__()
        self.model, self.pooler = model, backbone.trained_pooling
        self.backbone, self.method, self.packed = backbone, method, packed

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add `sentence_embedding` to the features of `pad`."""
        lengths = features["attention_mask"].sum(1).tolist()
        rows = [
            (ids[:length], mask[:length])
            for ids, mask, length in zip(
                features["input_ids"].tolist(), features["pool_mask"].tolist(), lengths, strict=True
            )
        ]
        inputs = Inputs([ids for ids, _ in rows], [mask for _, mask in rows])
        layers = list_layers(self.method, self.pooler, self.backbone.num_layers)
        states = hidden_states(
            self.backbone,
            inputs.ids,
            attention=self.method.attention,
            packed=self.packed,
            layers=layers,
        )
        features["sentence_embedding"] = embed(
            self.method, self.pooler, states, inputs, layers=layers
        )
        return features

    def get_embedding_dimension(self) -> int:
        """Return D."""
        return self.backbone.model.config.get_text_config().hidden_size

    def preprocess(self, texts: Sequence[str], **_: Any) -> dict[str, Tensor]:
        """Return padded features of texts that are neither query nor document, uninstructed."""
        return pad(self.method.prepare_inputs(texts, tokenizer=self.backbone.tokenizer))

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Save nothing: adapters are saved by the trainer (trainer.save_trained)."""


def pad(inputs: Inputs) -> dict[str, Tensor]:
    """Return ids, attention mask and pool mask as tensors [B, L], padded on the right."""
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
    """Turn rows of data into features, a group of tensors for every column of texts.

    text_tokens: query, document -> tokens that a raw text is truncated to first. phrase: how a
        row's instruction is phrased, with `{}` for it; None: as in evaluation. tokens: how many
        were handed out so far.
    """

    method: Method
    tokenizer: Any
    text_tokens: Mapping[str, int] = field(default_factory=dict)
    phrase: str | None = None
    valid_label_columns: Sequence[str] = ()  # sentence-transformers asks for it
    tokens: int = 0

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        columns = [c for c in rows[0] if c in ("query", "positive") or c.startswith("negative")]
        features = {}
        for column in columns:
            side = "query" if column == "query" else "document"
            inputs = self._prepare([row[column] for row in rows], rows, side)
            self.tokens += sum(map(len, inputs.ids))
            features |= {f"{column}_{name}": part for name, part in pad(inputs).items()}
        return features

    def _prepare(self, texts: list[str], rows: Sequence[Mapping[str, Any]], side: Any) -> Inputs:
        if (limit := self.text_tokens.get(side)) is not None:
            texts = [self._truncate(text, limit) for text in texts]
        ids: list[Any] = [None] * len(texts)
        masks: list[Any] = [None] * len(texts)
        kinds = [(row.get("instruction") or None, bool(row.get("symmetric"))) for row in rows]
        for instruction, symmetric in dict.fromkeys(kinds):
            places = [i for i, kind in enumerate(kinds) if kind == (instruction, symmetric)]
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

    def _truncate(self, text: str, limit: int) -> str:
        ids = tokenize([text], tokenizer=self.tokenizer)[0]
        return text if len(ids) <= limit else self.tokenizer.decode(ids[:limit])
