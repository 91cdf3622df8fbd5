"""Say what is left of a job, and how long that takes, by the records of earlier ones.

Neither data nor a model is loaded. Data that were edited since are therefore not noticed, and a
score counts if its parts are there and the method's code is the same. Times are those of the same
model in the same dtype on this machine: what a task takes beside the model, and its tokens by the
speed of the model. Where no record tells, the time is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch

from methods.backbone.hardware import resolve_device
from methods.base import Method
from methods.config.settings import TaskList
from methods.evaluation.job import Job, list_options
from methods.evaluation.task_data import list_requested_parts
from methods.evaluation.tasks import load_tasks
from methods.identity import digest_class
from methods.provenance import describe_machine
from methods.records import read_json

State = Literal["done", "unfinished", "to do"]
PATTERN = "results/*/*/experiments/*/record/run.json"


@dataclass(frozen=True)
class Left:
    """What is left of a job. tasks: the name of each that lacks a score, with the number of cells
    that lack it."""

    state: State
    tasks: Mapping[str, int]


def _find_derived(entries: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the entry of own data that stand in a task's place in the mirror."""
    derived = (entry for entry in entries.values() if entry.get("derived_from") == name)
    return next(derived, {})


def _is_scored(
    entry: Mapping[str, Any], parts: Iterable[tuple[str, str]], method: type[Method]
) -> bool:
    if entry.get("status") != "done":
        return False
    code, stamps = digest_class(method), entry.get("parts")
    if stamps is None:  # a record of schema 0
        return entry.get("code") == code
    return all(stamps.get(s, {}).get(subset, {}).get("code") == code for s, subset in parts)


@dataclass(frozen=True)
class _Known:
    """What a task cost one cell. inputs: what decides its tokens."""

    model: tuple[str, str, str]
    task: str
    inputs: str
    tokens: int
    computed: int
    seconds: float
    speed: float | None


class History:
    """The records of a runs folder: what has a score, and what that cost on this machine.

    Jobs that are asked about share the tasks and the model's identity that they have in common.
    """

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.known = [one for file in runs.glob(PATTERN) for one in _read_costs(file)]
        self._tasks: dict[str, list[Any]] = {}
        self._models: dict[str, tuple[Any, Any]] = {}

    def load_tasks(self, wanted: TaskList) -> list[Any]:
        """Return the tasks that can run."""
        if repr(wanted) not in self._tasks:
            self._tasks[repr(wanted)], _ = load_tasks(wanted)
        return self._tasks[repr(wanted)]

    def find_left(self, job: Job) -> Left:
        """Return what is left of a job. Raises ValueError for a job that cannot be resolved."""
        names = [task.metadata.name for task in self.load_tasks(job.tasks)]
        if not self.runs.exists():  # reading a record would make it
            return Left("to do", dict.fromkeys(names, len(self._share_model(job).columns)))
        lacking: dict[str, int] = {}
        begun = False
        for (cell, _), record in zip(self._share_model(job).columns, job.records, strict=True):
            entries = record.read().get("tasks", {})
            for task in self.load_tasks(job.tasks):
                name = task.metadata.name
                entry = entries.get(name) or _find_derived(entries, name)
                begun = begun or bool(entry)
                if not _is_scored(entry, list_requested_parts(task), type(cell)):
                    lacking[name] = lacking.get(name, 0) + 1
        return Left("unfinished" if lacking and begun else "to do" if lacking else "done", lacking)

    def _share_model(self, job: Job) -> Job:
        key = repr(job.evaluation.spec)
        if key in self._models:
            job.identity, job.text_config = self._models[key]
        self._models[key] = job.identity, job.text_config
        return job

    def predict(self, job: Job, left: Left) -> float | None:
        """Return the seconds that the rest of a job takes; None where that is unknown."""
        job = self._share_model(job)
        model = _name_model(job.evaluation.spec.name, job.identity)
        own = [one for one in self.known if one.model == model]
        speeds = [one.speed for one in own if one.speed]
        if not left.tasks:
            return 0.0
        if not speeds:
            return None
        speed, seconds = median(speeds), 0.0
        inputs = _describe_inputs(job.evaluation.name, list_options(job.cells[0]))
        for task, cells in left.tasks.items():
            there = [one for one in own if one.task == task]
            if not there:
                return None
            seconds += cells * median(_measure_rest(one) for one in there)
            seconds += _predict_tokens(own, there, inputs) / speed
        return seconds


def _predict_tokens(own: list[_Known], there: list[_Known], inputs: str) -> float:
    """Return the tokens that a task has to compute: from the method's own record, or from those of
    others, by how many tokens it takes for the same tasks where both have one."""
    repeated = max(one.computed / max(one.tokens, 1) for one in there)
    same = [one.tokens for one in there if one.inputs == inputs]
    if same:
        return repeated * median(same)
    mine = {one.task: one.tokens for one in own if one.inputs == inputs}
    guesses = []
    for other in there:
        theirs = {one.task: one.tokens for one in own if one.inputs == other.inputs}
        both = [task for task in mine if theirs.get(task)]
        ratio = sum(mine[t] for t in both) / sum(theirs[t] for t in both) if both else 1.0
        guesses.append(ratio * other.tokens)
    return repeated * median(guesses)


def _measure_rest(one: _Known) -> float:
    """Return the seconds of a task that the model did not take."""
    return max(one.seconds - (one.computed / one.speed if one.speed else 0.0), 0.0)


def _read_costs(file: Path) -> Iterator[_Known]:
    """Yield what the tasks of a record cost, if it was made on this machine."""
    try:
        record = read_json(file)
    except ValueError:  # a truncated one is written anew by its job
        return
    here = describe_machine()
    if any(record.get(key) != value for key, value in here.items()):
        return
    model = _name_model(str(record.get("model")), record.get("backbone") or {})
    inputs = _describe_inputs(str(record.get("method")), record.get("options") or {})
    for name, entry in record.get("tasks", {}).items():
        tokens, seconds = entry.get("tokens"), entry.get("seconds")
        if entry.get("status") != "done" or not tokens or seconds is None:
            continue
        if _runs_alike(entry):
            task, computed = entry.get("derived_from") or name, entry.get("tokens_computed", tokens)
            speed = entry.get("tokens_per_second")
            yield _Known(model, task, inputs, tokens, computed, seconds, speed)


def _runs_alike(entry: Mapping[str, Any]) -> bool:
    """Return whether a task ran on the kind of device, and with the threads, of this process."""
    device = str(entry.get("device"))
    if device.partition(":")[0] != resolve_device("auto").partition(":")[0]:
        return False
    return device != "cpu" or entry.get("threads") == torch.get_num_threads()


def _name_model(name: str, identity: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what decides a model's speed: adapters are merged and do not."""
    return name, str(identity.get("weights")), str(identity.get("dtype"))


def _describe_inputs(method: str, options: Mapping[str, Any]) -> str:
    return f"{method} {sorted(options.items())}"
