"""Contrastive learning: a query is closer to its positive than to the other texts of its batch.

sentence-transformers' trainer over a method's own vectors; the losses are in losses.py. Another
loss over the same pairs is a subclass with its own `build_loss`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datasets import DatasetDict
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from torch import nn

from methods.training.data import find_text_columns
from methods.training.losses import ContrastiveLoss
from methods.training.module import Collator, MethodModule
from methods.training.objective import Objective, Setup
from methods.training.trainer import TrainerExtensions


@dataclass(frozen=True, kw_only=True)
class Contrastive(Objective):
    """Train vectors of queries and documents, in batches of one source each."""

    reads = "pairs"

    def build_trainer(self, setup: Setup, rows: DatasetDict) -> ContrastiveTrainer:
        """Return a trainer over pairs. Raises ValueError for a source too small for a batch."""
        backbone, recipe = setup.backbone, setup.recipe
        for name, part in rows.items():
            if len(part) < recipe.batch_size:
                raise ValueError(
                    f"data {name} has {len(part)} rows, too few for one batch of "
                    f"{recipe.batch_size}; lower recipe.batch_size"
                )
        module = MethodModule(backbone, setup.method, setup.trained, packed=setup.packed)
        model = SentenceTransformer(modules=[module], device=backbone.choices["device"])
        first = next(iter(rows.values()))
        loss = self.build_loss(setup, model)
        if (setup.mini_batch_tokens or recipe.mini_batch) and not hasattr(loss, "mini_batch_size"):
            raise ValueError(
                f"{type(loss).__name__} computes a batch at once: leave out recipe.mini_batch and "
                f"run.mini_batch_tokens, or lower recipe.batch_size"
            )
        return ContrastiveTrainer(
            **setup.trainer_options(
                SentenceTransformerTrainingArguments, num_rows=sum(map(len, rows.values()))
            ),
            model=model,
            train_dataset=rows if len(rows) > 1 else first,
            eval_dataset=first.select([0]) if setup.validates else None,
            loss=loss,
            data_collator=Collator(
                setup.method, backbone.tokenizer, recipe.text_tokens, recipe.instruction
            ),
        )

    def build_loss(self, setup: Setup, model: SentenceTransformer) -> nn.Module:
        """Return the loss, as sentence-transformers' losses are called: features of queries, of
        positives and of each column of negatives, encoded by `model`."""
        recipe = setup.recipe
        return ContrastiveLoss(
            model,
            temperature=recipe.temperature,
            mini_batch=recipe.mini_batch,
            mini_batch_tokens=setup.mini_batch_tokens,
            learned=recipe.temperature_is == "learned",
            symmetric=recipe.symmetric,
            across_processes=setup.num_processes > 1,
        )


class ContrastiveTrainer(TrainerExtensions, SentenceTransformerTrainer):
    """sentence-transformers' trainer; no text twice in a batch, each batch from one source."""

    def get_batch_sampler(self: Any, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """Return batches without duplicate texts; with `twice` a text is its own positive, so
        duplicates are meant."""
        if self.recipe.twice:
            return super().get_batch_sampler(dataset, *args, **kwargs)
        names = ("batch_size", "drop_last", "valid_label_columns", "generator", "seed")
        options = dict(zip(names, args, strict=False)) | kwargs
        return NoDuplicatesBatchSampler(
            dataset.select_columns(find_text_columns(dataset)), **options
        )

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add no model card: training.json records what was done."""
