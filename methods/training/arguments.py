"""Translate a recipe and its run options into transformers' training arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from methods.training.prepare import Prepared
from methods.training.recipe import Recipe, RunOptions


def build_arguments(
    kind: Any,
    recipe: Recipe,
    options: RunOptions,
    *,
    prepared: Prepared,
    folder: Path,
    steps: int,
    processes: int,
    mini_batch: int | None = None,
    evaluates: bool = False,
) -> Any:
    """Return the arguments of a trainer. kind: the class of arguments it takes.

    mini_batch, evaluates: as in objective.Setup's trainer_options. Raises ValueError for a batch
    that processes cannot share evenly, and for another card than the first.
    """
    identity, device = prepared.backbone.identity, prepared.backbone.choices["device"]
    if recipe.batch_size % processes:
        raise ValueError(f"batch_size {recipe.batch_size} does not divide by {processes} processes")
    if processes == 1 and device not in ("cpu", "cuda:0"):
        raise ValueError(
            f"a training in one process runs on cuda:0, not on {device}; choose the card with "
            f"CUDA_VISIBLE_DEVICES={device.partition(':')[2]}"
        )
    validates = options.validate is not None
    rows = recipe.batch_size // processes
    parts = count_parts(rows, mini_batch or rows)
    arguments = kind(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=rows // parts,
        gradient_accumulation_steps=parts * recipe.accumulation,
        max_steps=steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_steps=options.every,
        save_total_limit=options.keep,
        eval_strategy="steps" if validates or evaluates else "no",
        eval_steps=options.every if validates or evaluates else None,
        load_best_model_at_end=validates,
        metric_for_best_model="eval_score" if validates else None,
        greater_is_better=True if validates else None,
        seed=options.seed,
        use_cpu=device == "cpu",
        bf16="bfloat16" in identity["dtype"],
        fp16=identity["dtype"].removeprefix("nf4_") == "float16",
        ddp_broadcast_buffers=False if processes > 1 else None,
        ddp_backend="gloo" if device == "cpu" and processes > 1 else None,
        ddp_find_unused_parameters=prepared.method.layer != -1 if processes > 1 else None,
        dataloader_drop_last=True,
        remove_unused_columns=False,
        report_to="none",
        deepspeed=options.deepspeed,
    )
    if processes == 1 and device != "cpu":
        # transformers would copy the model to every visible card (nn.DataParallel) and train on so
        # many times the batch. Several cards take torchrun, a process each.
        arguments._n_gpu = 1
    return arguments


def count_parts(rows: int, mini_batch: int) -> int:
    """Return into how many equal parts, each of at most `mini_batch` rows, a batch is cut."""
    return next(
        parts for parts in range(1, rows + 1) if rows % parts == 0 and rows <= parts * mini_batch
    )
