"""Define and check the fields of a recipe (objective, numbers, what is trained) and of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from methods.backbone.trained_pooling import TrainedPoolingSpec
from methods.config.settings import TaskList
from methods.fields import check_fields

Kind = Literal["lora", "bitfit", "added_bias", "full"]


def _check(holder: Any, key: str = "recipe", **least: float) -> None:
    """Check the fields' types, and that numbers are no less than `least`."""
    check_fields(holder, key=f"{key}.")
    for name, bound in least.items():
        if (value := getattr(holder, name)) is not None and value < bound:
            raise ValueError(f"{key}.{name} is {value}; it is {bound} or more")


@dataclass(frozen=True, kw_only=True)
class Trainable:
    """Which parameters are trained.

    kind: `lora`; `bitfit`, the biases that the model has; `added_bias`, those and a zero one for
        every linear layer without; `full`, all weights.
    targets: linear layers that LoRA adapts, by the end of their names, or `all-linear`.
    rows: input embedding rows trained as well: of `eos`, or of the method's `new_tokens`.
    quantized: frozen weights in 4 bits (bitsandbytes, CUDA only; `auto`: where there is CUDA).
    pooler: a pooling that is trained with the model (backbone/trained_pooling.py).
    """

    kind: Kind = "lora"
    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: Sequence[str] | str = "all-linear"
    rows: Sequence[str] = ()
    quantized: Literal["auto", "never"] = "never"
    pooler: TrainedPoolingSpec | None = None

    def __post_init__(self) -> None:
        _check(self, "recipe.trainable", r=1, alpha=1, dropout=0)
        if self.pooler is not None and self.kind == "full":
            raise ValueError(
                "recipe: a pooler lies beside an adapter, and kind=full makes none; use kind=lora"
            )
        if unknown := set(self.rows) - {"eos", "new_tokens"}:
            raise ValueError(
                f"recipe: rows {', '.join(sorted(unknown))} unknown; valid: eos, new_tokens"
            )


@dataclass(frozen=True, kw_only=True)
class Masking:
    """How tokens are masked for masked next token prediction.

    token: the mask token: `blank` (an underscore), `mask` (a new token), `eos`.
    share: the fraction of tokens that is masked. replace: `default` as BERT does (80 % become the
        mask token, 10 % another, 10 % stay as they are), or `all` become the mask token.
    length: tokens of a block. held_out: the last so many blocks are not trained on; their loss is
        measured every `run.every` steps.
    """

    token: Literal["blank", "mask", "eos"] = "blank"
    share: float = 0.2
    replace: Literal["default", "all"] = "default"
    length: int = 512
    held_out: int = 0

    def __post_init__(self) -> None:
        _check(self, "recipe.masking", length=2, held_out=0)
        if not 0 < self.share < 1:
            raise ValueError(f"recipe: masking.share is {self.share}; it is between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a method is trained.

    objective: its name, or `module.Class`, or a mapping of `_target_` and that class's fields
        (objective.py).
    steps: optimiser steps; epochs, instead: passes over the data. schedule_epochs: the learning
        rate falls as if training took so many epochs, however early it stops.
    batch_size: of all processes together. mini_batch: rows in memory at a time (GradCache); None:
        all. accumulation: batches whose gradients make one step; negatives are those of one batch.
    negatives: hard negatives per query, drawn from those a row has; None: all of them.
    temperature: similarities are divided by it. temperature_is: `learned` trains it too.
    symmetric: whether documents are also matched to queries.
    text_tokens: query, document -> tokens a raw text is truncated to before the method encodes it.
    attention_dropout: of the attention weights, in training only.
    instruction: how a source's instruction is phrased, with `{}` for it; None: as in evaluation.
    twice: a text is its own positive, under another dropout (SimCSE).
    masking: of objective mntp.
    """

    objective: str | Mapping = "contrastive"
    steps: int | None = None
    epochs: float | None = None
    schedule_epochs: float | None = None
    batch_size: int = 32
    mini_batch: int | None = None
    accumulation: int = 1
    learning_rate: float = 1e-4
    schedule: Literal["linear", "constant_with_warmup", "cosine"] = "linear"
    warmup: float = 0.0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    temperature: float = 0.05
    temperature_is: Literal["fixed", "learned"] = "fixed"
    symmetric: bool = False
    negatives: int | None = None
    text_tokens: Mapping[str, int] = field(default_factory=dict)
    instruction: str | None = None
    twice: bool = False
    attention_dropout: float = 0.0
    masking: Masking = field(default_factory=Masking)
    trainable: Trainable = field(default_factory=Trainable)

    def __post_init__(self) -> None:
        _check(self, steps=1, mini_batch=1, accumulation=1, negatives=0)
        _check(self, warmup=0, weight_decay=0, max_grad_norm=0)
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("recipe: give either steps or epochs")
        for name in ("batch_size", "learning_rate", "temperature", "epochs", "schedule_epochs"):
            if (value := getattr(self, name)) is not None and not 0 < value < math.inf:
                raise ValueError(f"recipe.{name} is {value}; it is above 0 and finite")
        for name, value in (
            ("attention_dropout", self.attention_dropout),
            ("trainable.dropout", self.trainable.dropout),
        ):
            if not 0 <= value < 1:
                raise ValueError(f"recipe.{name} is {value}; it is 0 or more and below 1")
        if short := [f"{name}={n}" for name, n in self.text_tokens.items() if n < 1]:
            raise ValueError(f"recipe.text_tokens has {', '.join(short)}; it is 1 or more")
        if unknown := set(self.text_tokens) - {"query", "document"}:
            raise ValueError(f"recipe: text_tokens of {', '.join(unknown)}; valid: query, document")

    def describe(self) -> dict[str, Any]:
        """Return all fields, but for those that recipes did not always have and that have their
        default: folders are named after this, and are found again."""
        values = asdict(self)
        if self.accumulation == 1:
            del values["accumulation"]
        if self.masking.held_out == 0:
            del values["masking"]["held_out"]
        return values


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a training is run: changes speed and what is written, not what is learnt.

    every: steps between checkpoints, and between validations. keep: checkpoints on disk.
    validate: tasks whose score chooses the best checkpoint (a validation split; never the test
        split that is reported).
    packed: packed sequences where the model allows it.
    gradient_checkpointing: recompute each layer in the backward pass instead of holding its
        activations; `auto`: on CUDA, for models of more than a billion parameters.
    mini_batch_tokens: tokens in memory at a time, instead of the recipe's mini_batch.
    deepspeed: as transformers' TrainingArguments take it. fsdp: refused, with the reason.
    """

    seed: int = 42
    every: int = 100
    keep: int = 2
    validate: TaskList | None = None
    packed: bool = True
    gradient_checkpointing: Literal["auto"] | bool = "auto"
    mini_batch_tokens: int | None = None
    deepspeed: str | None = None
    fsdp: str | None = None

    def __post_init__(self) -> None:
        _check(self, "run", seed=0, every=1, keep=1, mini_batch_tokens=1)
        if self.fsdp:
            raise ValueError(
                f"run.fsdp={self.fsdp} is not supported: the trainers' module names no layer to "
                f"shard, so every process would gather all weights at once, and validation and "
                f"resuming would fail on shards. Train an adapter (recipe.trainable.kind=lora), "
                f"which fits one card with run.gradient_checkpointing=true, or use "
                f"run.deepspeed=FILE"
            )
