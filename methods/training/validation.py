"""Score a model in training on mteb tasks, and load the texts of tasks.

The best checkpoint is chosen on validation or development data, never on a task's test split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import mteb

from methods.backbone.loader import Backbone
from methods.base import Method
from methods.config.settings import TaskList
from methods.encoding.encoder import Encoder
from methods.encoding.instructions import Instructions
from methods.evaluation.own_tasks.make import get_own_name
from methods.evaluation.task_data import load_data
from methods.evaluation.tasks import load_tasks


class Validation:
    """Score a model on tasks: calling it returns the mean of their main scores, of the model as it
    is at that moment. Raises ValueError for a task that is missing or on its test split."""

    def __init__(
        self, backbone: Backbone, method: Method, tasks: TaskList, instructions: Instructions
    ) -> None:
        self.backbone, self.method, self.instructions = backbone, method, instructions
        self.tasks = load_validation_tasks(tasks)
        for task in self.tasks:
            load_data(task)

    def __call__(self) -> float:
        # A new encoder each time: it caches vectors, and the model has changed.
        scores = []
        for task in self.tasks:
            result = mteb.evaluate(
                Encoder(self.backbone, self.method, instructions=self.instructions),  # pyright: ignore[reportArgumentType]
                task,
                cache=None,
                overwrite_strategy="always",
                co2_tracker=False,
                encode_kwargs={"batch_size": 1024, "show_progress_bar": False},
                show_progress_bar=False,
            )
            scores.append(float(result.task_results[0].get_score()))
        return sum(scores) / len(scores)


def load_validation_tasks(wanted: TaskList) -> list[Any]:
    """Return the tasks that choose a checkpoint. Raises ValueError for one that is missing, or that
    would be scored on its test split."""
    tasks, missing = load_tasks(wanted)
    if missing:
        raise ValueError(f"cannot validate on {missing}")
    for task in tasks:
        if "test" in task.eval_splits:
            name = get_own_name(task)
            own = " (of your own file without splits: {path: PATH, split: validation})"
            raise ValueError(
                f"{name} would be validated on its test split; choose another: "
                f"validate.splits={{{name}: [validation]}}{own if hasattr(task, 'own') else ''}"
            )
    return tasks


def load_texts(names: Sequence[str], mirror: str | None) -> dict[str, list[str]]:
    """Return every text of tasks' evaluation splits, by task; missing tasks are left out."""
    tasks, _ = load_tasks(TaskList(names=names, mirror=mirror))
    found = {}
    for task in tasks:
        load_data(task)
        found[task.metadata.name] = [
            text
            for split in task.eval_splits
            for row in task.dataset[split]
            for text in _find_texts(row)
        ]
    return found


def _find_texts(row: dict[str, Any]) -> Iterator[str]:
    yield from (value for value in row.values() if isinstance(value, str) and " " in value)
