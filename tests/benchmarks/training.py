"""Measure what packing gains in training: whole steps of the same trainer over the same triplets,
packed and padded."""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from measure import format_ratio, make_passages, make_sentences, time_rounds

from methods.backbone.attention import attention_mode
from methods.config.resolve import compose
from methods.training import data
from methods.training.config import build_train_job


def measure_training(args: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Measure steps of SGPT with LoRA (forward, loss, backward, optimiser) and their tokens."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, of, batch in (("sentences", make_sentences, 32), ("passages", make_passages, 4)):
            file, texts = Path(folder) / f"{kind}.jsonl", of(3 * batch)
            columns = ("query", "positive", "negative")
            triplets = [dict(zip(columns, texts[i::batch], strict=True)) for i in range(batch)]
            file.write_text("\n".join(map(json.dumps, triplets)))
            for dtype in args.dtypes:
                made = {
                    name: Training(args, file, dtype, batch, packed=name == "packed")
                    for name in ("packed", "padded")
                }
                collate = made["packed"].trainer.data_collator
                before = collate.tokens
                with redirect_stdout(io.StringIO()):
                    took = time_rounds(made, args.rounds)
                read = (collate.tokens - before) / (args.rounds + 1)
                speed = read / statistics.median(took["packed"])
                rows.append(
                    (
                        f"training, {kind}",
                        f"tokens per CPU second, packed, {dtype}",
                        f"{speed:,.0f}",
                    )
                )
                rows.append(
                    (f"training, {kind}", f"packed against the same trainer padded, {dtype}",
                     format_ratio(took["padded"], took["packed"]))
                )  # fmt: skip
    return rows


class Training:
    """Calling it takes one step, over all of a file."""

    def __init__(
        self, args: argparse.Namespace, file: Path, dtype: str, batch: int, *, packed: bool
    ) -> None:
        given = [
            "recipe=demo",
            f"model={args.model}",
            f"model.device={args.device}",
            f"model.dtype={dtype}",
            "data=file",
            f"data.sources.mine.path={file}",
            "recipe.steps=1",
            f"recipe.batch_size={batch}",
            f"kernel.packed={str(packed).lower()}",
            "run.every=1000",
            f"out={file.parent / f'{file.stem}_{dtype}_{packed}'}",
        ]
        self.job = build_train_job(compose(given, verb="train"), title="bench", overrides=given)
        rows = data.load(self.job.data, texts_only=False, negatives=1, seed=0).rows
        self.prepared = self.job.prepare()
        self.trainer: Any = self.job.build_trainer(self.prepared, rows)

    def __call__(self) -> None:
        with attention_mode(self.prepared.backbone.model, self.job.method.attention):
            self.trainer.train()
