"""Choose a training's learning rate by trials on a validation split, the same for every method.

    dec2vec train choose.learning_rates=[2e-4,6e-4,2e-3] run.seed=1,2,3 ...

Each rate is trained with one seed (`choose.seed`) and scored on one split of one task; the best
one is then used for every seed and every task. So methods are compared at equal budgets of tuning.

    RUNS/adapters/          what the trials trained; a seed of the comparison is not trained again
    RUNS/trials/results/    their records, apart from those that tables are made of
    RUNS/trials/TITLE_DIGEST.json    rates, scores, and the rate that was chosen
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from methods.config.settings import drop_estimate
from methods.fields import build
from methods.identity import digest
from methods.records import read_json, write_atomically
from methods.training.config import (
    build_evaluation,
    find_trained_spec,
    resolve_scored_tasks,
)
from methods.training.job import TrainJob

log = logging.getLogger(__name__)
RATE = "recipe.learning_rate"
BuildJob = Callable[[DictConfig, list[str]], TrainJob]


@dataclass(frozen=True, kw_only=True)
class ChoiceSettings:
    """Section `choose` of a training's config.

    learning_rates: those that are tried; None: nothing is chosen. task, split, subset: what the
    trials are scored on. seed: of the trials.
    """

    learning_rates: tuple[float, ...] | None = None
    task: str = "STSBenchmark"
    split: str = "validation"
    subset: str | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        rates = self.learning_rates
        if rates is None:
            return
        if len(set(rates)) < 2 or len(set(rates)) < len(rates):
            raise ValueError(
                f"choose.learning_rates is {list(rates)}; it is two different rates or more"
            )
        if bad := [rate for rate in rates if not 0 < rate < math.inf]:
            raise ValueError(f"choose.learning_rates has {bad[0]}; a rate is above 0")
        if self.split == "test":
            raise ValueError("choose.split is test; a rate is never chosen on a test split")


@dataclass(frozen=True)
class Chosen:
    """A rate and what all rates scored. scores: main scores by rate, fractions of 1."""

    learning_rate: float
    scores: dict[float, float]
    settings: ChoiceSettings = field(default_factory=ChoiceSettings)

    def describe(self) -> dict[str, Any]:
        """Return what records state of it."""
        own = self.settings
        return {
            "learning_rate": self.learning_rate,
            "scores": {f"{rate:g}": score for rate, score in self.scores.items()},
            "task": own.task,
            "split": own.split,
            "seed": own.seed,
        }


def read_settings(config: DictConfig) -> ChoiceSettings | None:
    """Return section `choose`, checked; None where nothing is to be chosen.

    Raises ValueError for what cannot be chosen for.
    """
    values: Any = OmegaConf.to_container(config.choose, resolve=True)
    if values.get("learning_rates") is not None:
        values["learning_rates"] = tuple(values["learning_rates"])
    settings = build(ChoiceSettings, values, key="choose")
    if settings.learning_rates is None:
        return None
    if config.docs is not None:
        raise ValueError("choose.learning_rates is not for docs=DIR, whose run validates itself")
    if config.out is not None:
        raise ValueError("choose.learning_rates trains several adapters; leave out= out")
    if config.estimate:
        raise ValueError(
            "estimate=true cannot estimate what is chosen first; give choose.learning_rates=null "
            "and one recipe.learning_rate, and count as many trainings as there are rates more"
        )
    return settings


@dataclass(frozen=True)
class Trials:
    """The trials of one training: its config, and how a config becomes a job."""

    config: DictConfig
    overrides: list[str]
    settings: ChoiceSettings
    build_job: BuildJob

    def choose(self) -> Chosen:
        """Return the best rate, training and scoring what has not been.

        Raises ValueError where several processes train together, and where a score is no number.
        """
        jobs = {rate: self.build_trial(rate) for rate in self.settings.learning_rates or ()}
        if (chosen := self.find(jobs)) is not None:
            return chosen
        if next(iter(jobs.values())).processes.num_processes > 1:
            raise ValueError("choose.learning_rates runs in one process; start without torchrun")
        scores = {rate: self._score(rate, job) for rate, job in jobs.items()}
        best = max(scores, key=lambda rate: scores[rate])
        chosen = Chosen(best, scores, self.settings)
        content = json.dumps(chosen.describe(), indent=2) + "\n"
        write_atomically(self._find_file(jobs), content)
        log.info("%s=%g is the best of %d on %s", RATE, best, len(scores), self.settings.task)
        return chosen

    def build_trial(self, rate: float) -> TrainJob:
        """Return the training of one rate, with the command that trains it alone."""
        return self.build_job(*self._set_rate(rate, seed=self.settings.seed))

    def build_chosen(self, chosen: Chosen) -> TrainJob:
        """Return the training at the chosen rate, under the config and command that were given."""
        job = self.build_job(*self._set_rate(chosen.learning_rate, seed=None))
        given: Any = OmegaConf.to_container(self.config, resolve=True)
        return replace(
            job, config=drop_estimate(given), overrides=self.overrides, chosen=chosen.describe()
        )

    def find(self, jobs: dict[float, TrainJob]) -> Chosen | None:
        """Return what was chosen before, by these trials; None where it was not."""
        if not (file := self._find_file(jobs)).is_file():
            return None
        stored = read_json(file)
        scores = {rate: stored["scores"][f"{rate:g}"] for rate in jobs}
        return Chosen(float(stored["learning_rate"]), scores, self.settings)

    def find_chosen(self) -> Chosen | None:
        """Return what was chosen before, without any training."""
        return self.find({r: self.build_trial(r) for r in self.settings.learning_rates or ()})

    def _find_file(self, jobs: dict[float, TrainJob]) -> Path:
        own = self.settings
        mark = digest([[j.folder.name for j in jobs.values()], own.task, own.split, own.subset], 8)
        title = next(iter(jobs.values())).title
        return Path(self.config.runs) / "trials" / f"{title}_{mark}.json"

    def _set_rate(self, rate: float, *, seed: int | None) -> tuple[DictConfig, list[str]]:
        """Return config and overrides of one rate; those of a trial, where `seed` is its seed."""
        own = self.settings
        values: dict[str, Any] = {RATE: rate, "choose.learning_rates": None}
        if seed is not None:
            values |= {"run.seed": seed, "evaluate.before": False, "evaluate.names": [own.task]}
            values |= {"evaluate.splits": {own.task: [own.split]}, "evaluate.own": None}
            values["evaluate.subsets"] = {own.task: [own.subset]} if own.subset else None
        config = self.config.copy()
        for key, value in values.items():
            OmegaConf.update(config, key, value, merge=False)
        kept = [word for word in self.overrides if word.lstrip("+").partition("=")[0] not in values]
        return config, [*kept, *(f"{key}={_format(value)}" for key, value in values.items())]

    def _score(self, rate: float, job: TrainJob) -> float:
        log.info("trial: %s=%g", RATE, rate)
        folder = job.run()
        _, tasks = resolve_scored_tasks(job.config)
        evaluation = build_evaluation(job, find_trained_spec(job, folder), tasks)
        score = replace(evaluation, runs=Path(self.config.runs) / "trials").run()
        if score is None or not math.isfinite(score):
            raise ValueError(f"{RATE}={rate:g} scored {score} on {self.settings.task}; give others")
        return score


def _format(value: Any) -> str:
    """Return a value as an override writes it."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_format(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_format, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)
