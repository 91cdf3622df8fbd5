"""Describe what an evaluation will cost, task by task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from methods.evaluation.model_size import ModelSize
from methods.evaluation.speed import Speed


@dataclass(kw_only=True)
class TaskCost:
    """What a task will cost. note: why it costs nothing, or cannot be estimated.

    tokens: of its texts, with the method's template. computed: of those that are neither repeated
    nor cached, a shared prefix once. passes, seconds: None where they are not known.
    """

    name: str
    note: str = ""
    texts: int = 0
    tokens: float = 0
    computed: float = 0
    vectors: float = 0
    passes: int | None = 0
    seconds: float | None = 0.0
    exact: bool = True


@dataclass(kw_only=True)
class Estimate:
    """What a job will cost. starting: seconds until the model is loaded. unknown: why speed and
    memory were not measured. vectors_bytes: of the vectors that the cache will hold."""

    title: str
    model: str
    tasks: list[TaskCost] = field(default_factory=list)
    missing: Mapping[str, str] = field(default_factory=dict)
    starting: float = 0.0
    speed: Speed | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    size: ModelSize | None = None
    unknown: str = ""
    vectors_bytes: float = 0

    def sum(self, name: str) -> float | None:
        """Return the sum of a cost over the tasks; None where it is not known of one of them."""
        values = [getattr(task, name) for task in self.tasks]
        return None if None in values else sum(values)

    @property
    def computed(self) -> float:
        """Return the tokens to compute."""
        return sum(task.computed for task in self.tasks)

    @property
    def on_cpu(self) -> bool:
        """Whether the model runs on a CPU."""
        return self.choices.get("device") == "cpu"

    @property
    def seconds(self) -> float | None:
        """Return the seconds of the whole job."""
        tasks = self.sum("seconds")
        return None if tasks is None else self.starting + tasks
