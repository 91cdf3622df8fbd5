"""What a finished training says of itself: the TrainingRecord that training.json holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from methods.backbone.loader import identify_backbone
from methods.identity import engine_digest
from methods.provenance import command_of, environment, portable
from methods.records import TrainingRecord
from methods.training.trainable import count

if TYPE_CHECKING:
    from methods.training.job import TrainJob


def training_record(
    job: TrainJob, trainer: Any, about: dict[str, Any], spent: Mapping[str, Any]
) -> TrainingRecord:
    """Return the record of a training that was trained to its last step.

    about: of its data. spent: seconds and tokens.
    """
    trained, every = count(trainer.trained, trainer.pooler)
    state, base, method = trainer.state, job.backbone.identity, type(job.method)
    best = {"step": state.best_global_step, "score": state.best_metric}
    return TrainingRecord(
        base={key: base[key] for key in ("name", "weights", "files", "dtype") if key in base},
        below=identify_backbone(job.spec)["adapters"],
        name=job.name,
        method={
            "class": f"{method.__module__}.{method.__qualname__}",
            **dataclasses.asdict(job.method),
        },
        title=job.title,
        recipe=dataclasses.asdict(job.recipe),
        data=about,
        trained=trained,
        of=every,
        steps=state.global_step,
        seconds=spent["seconds"],
        tokens=spent["tokens"],
        loss=next((e["loss"] for e in reversed(state.log_history) if "loss" in e), None),
        best=None if state.best_metric is None else best,
        engine=engine_digest(),
        command=command_of("train", job.overrides, job.config_dir),
        config_dir=portable(job.config_dir),
        config=portable(dict(job.config)),
        **environment(),
    )
