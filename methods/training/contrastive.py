"""Contrastive training: sentence-transformers' trainer over a method's own vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler

from methods.training.data import Loaded, text_columns
from methods.training.losses import ContrastiveLoss
from methods.training.module import Collator, MethodModule
from methods.training.trainer import Recipes

if TYPE_CHECKING:
    from methods.training.job import TrainJob


class ContrastiveTrainer(Recipes, SentenceTransformerTrainer):
    """sentence-transformers' trainer; no text twice in a batch, a batch is of one source."""

    def get_batch_sampler(self: Any, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """Batches without duplicates among what is read; a text may be its own positive."""
        if self.recipe.twice:
            return super().get_batch_sampler(dataset, *args, **kwargs)
        names = ("batch_size", "drop_last", "valid_label_columns", "generator", "seed")
        options = dict(zip(names, args, strict=False)) | kwargs
        return NoDuplicatesBatchSampler(dataset.select_columns(text_columns(dataset)), **options)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: training.json says what was done."""


def contrastive_trainer(job: TrainJob, loaded: Loaded, trained: Any) -> ContrastiveTrainer:
    """The trainer of a contrastive recipe over loaded pairs."""
    backbone, recipe = job.backbone, job.recipe
    texts = loaded.rows
    module = MethodModule(backbone, job.method, trained, packed=job.packed)
    model = SentenceTransformer(modules=[module], device=backbone.choices["device"])
    loss = ContrastiveLoss(
        model,
        temperature=recipe.temperature,
        mini_batch=recipe.mini_batch,
        learned=recipe.temperature_is == "learned",
        symmetric=recipe.symmetric,
        across_processes=job.processes.num_processes > 1,
    )
    return ContrastiveTrainer(
        **job.options(
            SentenceTransformerTrainingArguments, trained, rows=sum(map(len, texts.values()))
        ),
        model=model,
        train_dataset=texts if len(texts) > 1 else next(iter(texts.values())),
        eval_dataset=next(iter(texts.values())).select([0]) if job.run_as.validate else None,
        loss=loss,
        data_collator=Collator(
            job.method, backbone.tokenizer, recipe.text_tokens, recipe.instruction
        ),
    )
