"""Say what is left of a training, and how long that takes, by the trainings that are finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from methods.backbone.loader import identify_backbone
from methods.evaluation import history as evaluations
from methods.evaluation.history import Left, State
from methods.evaluation.job import Job
from methods.provenance import describe_machine
from methods.records import read_json
from methods.training.config import build_evaluation, build_evaluations, resolve_scored_tasks
from methods.training.job import TrainJob
from methods.training.stored_settings import TRAINED
from methods.training.trainer import count_steps, find_last_checkpoint


class History:
    """The trainings and evaluations of a runs folder that were made on this machine."""

    def __init__(self, runs: Path) -> None:
        self.evaluations = evaluations.History(runs)
        records = [_read_record(file) for file in (runs / "adapters").glob(f"*/{TRAINED}")]
        here = describe_machine()
        self.trainings = [
            one for one in records if one and all(one.get(k) == v for k, v in here.items())
        ]

    def find_left(self, job: TrainJob) -> tuple[State, float | None]:
        """Return the state of a training, and the seconds that the rest of it takes, its
        evaluations included; None where they are unknown."""
        trained = (job.folder / TRAINED).is_file()
        checkpoint = find_last_checkpoint(job.folder / "checkpoints", clean=False)
        taken = int(checkpoint.name.split("-")[1]) if checkpoint else 0
        parts = [0.0 if trained else self._predict(job, taken)]
        found: list[tuple[Job, Left]] = []
        _, tasks = resolve_scored_tasks(job.config)
        if tasks.names:
            own = build_evaluations(job, job.folder, trained=trained)
            found = [(evaluation, self.evaluations.find_left(evaluation)) for evaluation in own]
        begun = trained or taken > 0 or any(left.state != "to do" for _, left in found)
        if tasks.names and not trained:  # evaluated later, in the time of the untrained model
            wanted = {t.metadata.name: 1 for t in self.evaluations.load_tasks(tasks)}
            found.append((build_evaluation(job, job.spec, tasks), Left("to do", wanted)))
        parts += [self.evaluations.predict(*one) for one in found]
        done = trained and not any(left.tasks for _, left in found)
        known = [part for part in parts if part is not None]
        seconds = sum(known) if len(known) == len(parts) else None
        return ("done" if done else "unfinished" if begun else "to do"), seconds

    def _predict(self, job: TrainJob, taken: int) -> float | None:
        """Return the seconds of the steps to take, by trainings of the same model and kind, and of
        the same data."""
        weights, kind = identify_backbone(job.spec)["weights"], job.recipe.trainable.kind
        own = [
            one
            for one in self.trainings
            if (one["base"]["weights"], one["recipe"]["trainable"]["kind"]) == (weights, kind)
        ]
        data = [
            one
            for one in self.trainings
            if one["data"]["sources"].keys() == job.data.sources.keys()
        ]
        if not own or not data:
            return None
        method = f"{type(job.method).__module__}.{type(job.method).__qualname__}"
        same = [one for one in data if one["method"]["class"] == method] or data
        rows = sum(source["rows"] for source in same[-1]["data"]["sources"].values())
        each = median(one["tokens"] / (one["steps"] * one["recipe"]["batch_size"]) for one in same)
        steps = max(count_steps(job.recipe, rows)[0] - taken, 0)
        speed = median(one["tokens"] / one["seconds"] for one in own)
        return steps * job.recipe.batch_size * each / speed


def _read_record(file: Path) -> Mapping[str, Any]:
    """Return a training's record; empty for one that lacks what it cost."""
    try:
        found = read_json(file)
    except ValueError:
        return {}
    needed = ("base", "recipe", "data", "method", "steps", "tokens", "seconds")
    return found if all(found.get(key) for key in needed) else {}
