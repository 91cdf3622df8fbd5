"""Estimate what a training will cost before it runs: steps, tokens, time, memory.

Data and model are loaded as for the training, its own trainer takes a few steps, and all of that is
dropped: its folder lies in a temporary one. Tokens are counted on a few hundred rows. What the
evaluation before and after adds is estimated as an evaluation is (evaluation/estimate.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
from datasets import DatasetDict
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from methods.backbone.attention import attention_mode
from methods.backbone.hardware import free_memory, measure_peak_memory, reset_peak_memory
from methods.backbone.loader import load_config
from methods.backbone.weights import load_tokenizer
from methods.base import tokenize
from methods.evaluation.costs import Estimate
from methods.evaluation.estimate import UNUSABLE, estimate_evaluation, explain_no_room
from methods.evaluation.model_size import ModelSize, measure_model
from methods.training.config import (
    build_evaluation,
    build_evaluations,
    resolve_scored_tasks,
)
from methods.training.job import TrainJob
from methods.training.module import Collator
from methods.training.prepare import Prepared
from methods.training.stored_settings import TRAINED, describe_settings, refuse_other_settings
from methods.training.trainable import count_parameters
from methods.training.trainer import count_steps, find_last_checkpoint

log = logging.getLogger(__name__)
ROWS = 300  # that tokens are counted on
LIMIT, STEPS = 20.0, 12  # seconds and steps of measuring, about, and at most
FEWEST = 4  # steps, the first of which is not counted


@dataclass(kw_only=True)
class TrainingEstimate:
    """What a training will cost.

    steps: to take; taken: before, by a run that it resumes. rows: of the data. tokens: of the steps
    to take, from `counted` rows. step_rows: of all batches of a step. seconds: of the steps; None
    where they could not be measured, for the reason `unknown`. starting: until the first step.
    measured: steps, tokens, seconds. evaluations: what each costs that is part of the job.
    """

    title: str
    folder: Path
    done: bool = False
    steps: int = 0
    taken: int = 0
    step_rows: int = 0
    rows: int = 0
    counted: int = 0
    tokens: float = 0
    starting: float = 0.0
    seconds: float | None = 0.0
    measured: tuple[int, int, float] = (0, 0, 0.0)
    memory: float = 0
    device: str = ""
    trained: tuple[int, int] = (0, 0)
    size: ModelSize | None = None
    unknown: str = ""
    evaluations: list[tuple[str, int, Estimate]] = field(default_factory=list)

    @property
    def all_tokens(self) -> float:
        """Return the tokens to compute, those of evaluations among them."""
        return self.tokens + sum(times * own.computed for _, times, own in self.evaluations)

    @property
    def total(self) -> float | None:
        """Return the seconds of all; None where a part of them is unknown."""
        parts = [self.seconds]
        parts += [None if e.seconds is None else n * e.seconds for _, n, e in self.evaluations]
        known = [part for part in parts if part is not None]
        return self.starting + sum(known) if len(known) == len(parts) else None


def estimate_training(job: TrainJob, *, starting: float = 0.0) -> TrainingEstimate:
    """Return what a training will cost, its evaluation not included.

    starting: seconds that the process took until now. Raises ValueError for what the training would
    refuse too.
    """
    datasets.disable_progress_bars()
    refuse_other_settings(job.folder, describe_settings(job))
    found = TrainingEstimate(title=job.title, folder=job.folder, starting=starting)
    if (job.folder / TRAINED).is_file():
        found.done = True
        return found
    if checkpoint := find_last_checkpoint(job.folder / "checkpoints", clean=False):
        found.taken = int(checkpoint.name.split("-")[1])
    start = time.perf_counter()
    rows, _ = job.load_rows()
    found.rows = sum(map(len, rows.values()))
    found.step_rows = job.recipe.batch_size * job.recipe.accumulation
    found.size = measure_model(job.spec)
    found.unknown = explain_no_room(found.size, job.spec)
    if not found.unknown:
        try:
            _measure(found, job, rows, start)
            return found
        except UNUSABLE as error:
            if isinstance(error, ValueError):  # a fault that the training would stop at too
                raise
            found.unknown = f"{type(error).__name__}: {error}"
    _count_without_model(found, job, rows)
    found.starting += time.perf_counter() - start
    found.seconds = None
    return found


def add_evaluations(found: TrainingEstimate, job: TrainJob) -> None:
    """Add what validation and the evaluation before and after the training cost.

    Until there is an adapter, the untrained model stands for the trained one, with no score and no
    vector cached: once its adapter is merged, that takes the same time.
    """
    _, tasks = resolve_scored_tasks(job.config)
    starting = 0.0
    for evaluation in build_evaluations(job, job.folder, trained=found.done) if tasks.names else ():
        label = "before" if evaluation.evaluation.spec == job.spec else "after"
        found.evaluations.append((label, 1, own := estimate_evaluation(evaluation)))
        starting = max(starting, own.starting)
    if found.done:
        return
    wanted = [("after", 1, tasks)] if tasks.names else []
    if (validated := job.run_options.validate) is not None:
        wanted.append(("validation", found.steps // job.run_options.every, validated))
    speed = next((e.speed for _, _, e in found.evaluations if e.speed), None)
    for label, times, own_tasks in wanted:
        fresh = replace(build_evaluation(job, job.spec, own_tasks), cache={"folder": None})
        own = estimate_evaluation(fresh, from_records=False, speed=speed)
        own.starting = 0.0 if label == "validation" else max(starting, own.starting)
        speed = speed or own.speed
        found.evaluations.append((label, times, own))


def _measure(found: TrainingEstimate, job: TrainJob, rows: DatasetDict, start: float) -> None:
    """Load the model, count tokens and take a few steps, in a folder that is removed."""
    with TemporaryDirectory(prefix="dec2vec-estimate-") as aside:
        never = replace(job.run_options, every=10**9, validate=None)
        dry = replace(job, folder=Path(aside), run_options=never)
        prepared = dry.prepare()
        found.device = prepared.backbone.choices["device"]
        found.trained = count_parameters(prepared.trained, prepared.backbone.trained_pooling)
        with attention_mode(prepared.backbone.model, prepared.method.attention):
            trainer = dry.build_trainer(prepared, rows)
            found.starting += time.perf_counter() - start
            found.steps = max(trainer.args.max_steps - found.taken, 0)
            parts = list(rows.values()) if job.objective.reads == "pairs" else None
            _count_tokens(found, trainer.data_collator, parts or [trainer.train_dataset])
            _take_steps(found, dry, prepared, trainer)
        del trainer, prepared
    free_memory()


def _count_tokens(found: TrainingEstimate, collator: Any, parts: Sequence[Any]) -> None:
    """Count the tokens of rows from all over the data, a source in its share of them."""
    before, total = collator.tokens, sum(map(len, parts))
    for part in parts:
        number = min(max(round(ROWS * len(part) / total), 1), len(part))
        chosen = [part[int((place + 0.5) * len(part) / number)] for place in range(number)]
        for first in range(0, number, found.step_rows):
            collator(chosen[first : first + found.step_rows])
        found.counted += number
    each = (collator.tokens - before) / found.counted
    found.tokens = each * found.steps * found.step_rows


def _take_steps(found: TrainingEstimate, job: TrainJob, prepared: Prepared, trainer: Any) -> None:
    """Take a few steps, and extrapolate their time by tokens."""
    several = job.processes.num_processes > 1
    timer = StepTimer(trainer.data_collator, fixed=several)  # all must stop at the same step
    for noisy in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(noisy)
    trainer.add_callback(timer)
    reset_peak_memory(found.device)
    trainer.train()
    found.memory = measure_peak_memory(found.device) * 2**20
    found.measured = steps, tokens, seconds = timer.summarize()
    tokens *= job.processes.num_processes
    found.seconds = seconds * (found.tokens / tokens if tokens else found.steps / steps)


class StepTimer(TrainerCallback):
    """Time steps, with the loading of their rows, and stop once that suffices.

    fixed: stop after FEWEST steps, however long they take.
    """

    def __init__(self, collator: Any, *, fixed: bool) -> None:
        self.collator, self.fixed = collator, fixed
        self.marks: list[tuple[float, int]] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self.marks:
            self.marks.append((time.perf_counter(), self.collator.tokens))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.marks.append((time.perf_counter(), self.collator.tokens))
        steps, seconds = len(self.marks) - 1, self.marks[-1][0] - self.marks[0][0]
        slow = self.fixed or seconds > LIMIT
        control.should_training_stop = steps >= STEPS or (slow and steps >= FEWEST)

    def summarize(self) -> tuple[int, int, float]:
        """Return steps, tokens and seconds: without the first step, where there are others."""
        first = self.marks[1 if len(self.marks) > 2 else 0]
        last, steps = self.marks[-1], len(self.marks) - 1 - (len(self.marks) > 2)
        return steps, last[1] - first[1], last[0] - first[0]


def _count_without_model(found: TrainingEstimate, job: TrainJob, rows: DatasetDict) -> None:
    """Count steps and tokens with the tokenizer alone."""
    recipe = job.recipe
    tokenizer = load_tokenizer(load_config(job.spec)[0], job.spec)
    if job.objective.reads == "pairs":
        found.steps = max(count_steps(recipe, found.rows)[0] - found.taken, 0)
        collator = Collator(job.method, tokenizer, recipe.text_tokens, recipe.instruction)
        _count_tokens(found, collator, list(rows.values()))
        return
    length, texts = recipe.masking.length, [text for part in rows.values() for text in part["text"]]
    drawn = texts[:: max(len(texts) // ROWS, 1)]
    tokens = sum(map(len, tokenize(drawn, tokenizer=tokenizer))) / len(drawn) * len(texts)
    blocks = int(tokens // length) - recipe.masking.held_out
    found.steps = max(count_steps(recipe, blocks)[0] - found.taken, 0)
    found.counted, found.tokens = len(drawn), float(found.steps * found.step_rows * length)
