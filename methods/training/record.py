"""Build the TrainingRecord of a finished training, which training.json holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from methods.backbone.loader import identify_backbone
from methods.identity import digest_engine
from methods.provenance import describe_environment, format_command, make_portable
from methods.records import TrainingRecord
from methods.training.trainable import count_parameters

if TYPE_CHECKING:
    from methods.training.job import TrainJob
    from methods.training.prepare import Prepared


def build_record(
    job: TrainJob,
    prepared: Prepared,
    trainer: Any,
    *,
    about: dict[str, Any],
    spent: Mapping[str, Any],
) -> TrainingRecord:
    """Return the record of a training that was trained to its last step.

    about: its data. spent: seconds and tokens.
    """
    trained, total = count_parameters(prepared.trained, prepared.backbone.trained_pooling)
    state, base, method = trainer.state, prepared.backbone.identity, type(prepared.method)
    best = {"step": state.best_global_step, "score": state.best_metric}
    return TrainingRecord(
        base={key: base[key] for key in ("name", "weights", "files", "dtype") if key in base},
        below=identify_backbone(job.spec)["adapters"],
        name=job.name,
        method={
            "class": f"{method.__module__}.{method.__qualname__}",
            **dataclasses.asdict(prepared.method),
        },
        title=job.title,
        recipe=job.recipe.describe(),
        data=about,
        trained=trained,
        of=total,
        steps=state.global_step,
        seconds=spent["seconds"],
        tokens=spent["tokens"],
        loss=next((e["loss"] for e in reversed(state.log_history) if "loss" in e), None),
        best=None if state.best_metric is None else best,
        engine=digest_engine(),
        command=format_command("train", job.overrides, job.config_dir),
        config_dir=make_portable(job.config_dir),
        config=make_portable(dict(job.config)),
        **describe_environment(),
    )
