"""The module of an exported folder that no stock modules equal: a method, as sentence-transformers
calls it. This file is copied into the folder, with the method and what it imports (bundle.py).

It builds token ids by the method's own `prepare_inputs`, runs the model under the method's own
attention, and pools as dec2vec does, through a trained pooling where there is one. A prompt names
the side that a text is on; it is not put in front of the text: consumers that never pass `task`
(LlamaIndex) can then say what a query is.

B rows of a batch, L positions, D hidden size.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules import Transformer
from torch import Tensor

from methods.backbone.attention import attention_mode, explain_unsupported
from methods.backbone.layers import run_layers
from methods.backbone.trained_pooling import FILE as POOLER
from methods.backbone.trained_pooling import (
    TrainedPooling,
    load_trained_pooling,
    save_trained_pooling,
)
from methods.base import Inputs, Method
from methods.encoding.vectorize import embed, list_layers
from methods.fields import build
from methods.pooling_names import OwnPooling
from methods.tokens import check_texts

SETTINGS = "dec2vec_method.json"


class ExportedMethod(Transformer):
    """A transformers model whose texts are encoded and pooled by a method.

    method_class: the method's class. own_pooling: the function of a pooling that is not built in.
    Both are set by the generated subclass in dec2vec_module.py.
    """

    method_class: type[Method]
    own_pooling: Any = None
    method: Method
    settings: dict[str, Any]
    trained: TrainedPooling | None
    verified: bool  # whether a test forward pass showed the method's attention

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **options: Any) -> ExportedMethod:
        """Load the model and the tokenizer, then the method's settings and its trained pooling."""
        module: Any = super().load(model_name_or_path, subfolder=subfolder, **options)
        names = ("token", "cache_folder", "revision", "local_files_only")
        place = {name: options[name] for name in names if name in options}

        def find(name: str) -> str | None:
            return cls.load_file_path(model_name_or_path, name, subfolder=subfolder, **place)

        file = find(SETTINGS)
        if file is None:
            raise ValueError(f"{model_name_or_path} lacks {SETTINGS}; export the method again")
        module.set_method(json.loads(Path(file).read_text(encoding="utf-8")))
        if module.settings["trained_pooling"]:
            pooler = find(POOLER)
            if pooler is None:
                raise ValueError(f"{model_name_or_path} lacks {POOLER}, its trained pooling")
            config = module.auto_model.config.get_text_config()
            module.trained = load_trained_pooling(
                Path(pooler).parent,
                hidden_size=config.hidden_size,
                num_layers=config.num_hidden_layers,
            )
        return module

    def set_method(self, settings: dict[str, Any]) -> None:
        """Build the method from the settings that the export wrote."""
        fields = dict(settings["fields"])
        fields = {key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()}
        if self.own_pooling is not None:
            pooling = OwnPooling(fields["pooling"])
            pooling.function, pooling.code = self.own_pooling, "exported"
            fields["pooling"] = pooling
        self.settings, self.trained, self.verified = settings, None, False
        self.method = build(self.method_class, fields, key="method")
        tokenizer: Any = self.tokenizer
        tokenizer.name_or_path = settings["model"]  # some methods read it
        tokenizer.model_max_length = int(1e30)  # methods cut texts themselves

    def preprocess(
        self, inputs: Any, prompt: str | None = None, task: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """Return padded ids, which of them are tokens, and which may be pooled: [B, L] each, of
        all rows of the texts.

        prompt: one of the folder's prompts, which names a side; for a method that uses
            instructions any other text is the instruction of a query. task: `query` or `document`.
        """
        side, instruction = self.choose_side(prompt, task)
        tokenizer: Any = self.tokenizer
        made = self.method.prepare_inputs(
            check_texts(inputs),
            tokenizer=tokenizer,
            prompt_type=side,  # pyright: ignore[reportArgumentType]
            instruction=instruction,
        )
        longest = max(map(len, made.ids))
        pad = tokenizer.pad_token_id or 0
        ids = [row + [pad] * (longest - len(row)) for row in made.ids]
        real = [[1] * len(row) + [0] * (longest - len(row)) for row in made.ids]
        return {
            "input_ids": torch.tensor(ids),
            "attention_mask": torch.tensor(real),
            "pool_mask": made.mask(longest).long(),
        }

    def choose_side(self, prompt: str | None, task: str | None) -> tuple[str | None, str | None]:
        """Return the side and the instruction that a prompt and a task mean.

        Raises ValueError for a prompt that the folder does not have, where no instruction is used.
        """
        known = {one["prompt"]: one for one in self.settings["prompts"].values()}
        if prompt in known:
            return known[prompt]["side"], known[prompt]["instruction"]
        side = task if task in ("query", "document") else None
        if not prompt:
            return side, self.settings["instruction"]
        if self.method.uses_instructions:
            return side, prompt
        raise ValueError(
            f"prompt {prompt!r} is unknown; a prompt names the side of the texts in this folder "
            f"and is not put in front of them; valid: {', '.join(map(repr, known))}, or none"
        )

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add the vectors [B, D], and the states of the deepest layer that is pooled."""
        model, attention = self.auto_model, self.method.attention
        if not (self.verified or self.training):
            if reason := explain_unsupported(model, attention):
                raise ValueError(
                    f"attention={attention} does not work on {type(model).__name__} here: "
                    f"{reason}. Try model_kwargs={{'attn_implementation': 'eager'}}"
                )
            self.verified = True
        ids_BL, real_BL = features["input_ids"], features["attention_mask"]
        states: dict[Any, Tensor] = {}

        def take(layer: Any, states_BLD: Tensor) -> None:
            states[layer] = states_BLD.float()

        layers = list_layers(
            self.method, self.trained, model.config.get_text_config().num_hidden_layers
        )
        # Rows are padded on the right, so that causal attention needs no mask.
        mask = None if attention == "causal" or bool(real_BL.all()) else real_BL
        with attention_mode(model, attention):
            run_layers(
                model,
                layers,
                take=take,
                input_ids=ids_BL,
                attention_mask=mask,
            )
        inputs = rebuild_inputs(ids_BL, real_BL, features["pool_mask"])
        features["sentence_embedding"] = embed(
            self.method, self.trained, states, inputs, layers=layers
        )
        features["token_embeddings"] = next(reversed(states.values()))
        return features

    def get_embedding_dimension(self) -> int:
        """Return the size of the vectors, which a method's own `pool` may change."""
        return self.settings["dimension"]

    def save(self, output_path: str, *args: Any, **options: Any) -> None:
        """Save what `load` reads; sentence-transformers copies the code."""
        super().save(output_path, *args, **options)
        text = json.dumps(self.settings, indent=2, ensure_ascii=False)
        (Path(output_path) / SETTINGS).write_text(text + "\n", encoding="utf-8")
        if self.trained is not None:
            save_trained_pooling(self.trained, Path(output_path))


def rebuild_inputs(ids_BL: Tensor, real_BL: Tensor, pool_BL: Tensor) -> Inputs:
    """Return padded rows as the ragged inputs that a method's `pool` takes."""
    lengths = real_BL.sum(dim=1).tolist()
    ids, masks = ids_BL.tolist(), pool_BL.bool().tolist()
    return Inputs(
        [row[:length] for row, length in zip(ids, lengths, strict=True)],
        [row[:length] for row, length in zip(masks, lengths, strict=True)],
    )
