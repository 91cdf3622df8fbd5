"""The score of a model in training on an mteb task, and the texts of tasks.

Selection is on validation or development data: a task's test split is never what chooses.
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
from methods.evaluation.task_data import load_data
from methods.evaluation.tasks import load_tasks


class Validation:
    """Calling it gives the mean main score of the tasks, of the model as it then is."""

    def __init__(
        self, backbone: Backbone, method: Method, tasks: TaskList, instructions: Instructions
    ) -> None:
        self.backbone, self.method, self.instructions = backbone, method, instructions
        self.tasks, missing = load_tasks(tasks)
        if missing:
            raise ValueError(f"cannot validate on {missing}")
        for task in self.tasks:
            if "test" in task.eval_splits:
                raise ValueError(
                    f"{task.metadata.name} would be validated on its test split; choose another: "
                    f"validate.splits={{{task.metadata.name}: [validation]}}"
                )
            load_data(task)

    def __call__(self) -> float:
        # A new encoder each time: it keeps vectors, and the model has changed.
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


def texts_of(names: Sequence[str], mirror: str | None) -> dict[str, list[str]]:
    """Every text of tasks' evaluation splits, by task; tasks that are missing are left out."""
    tasks, _ = load_tasks(TaskList(names=names, mirror=mirror))
    found = {}
    for task in tasks:
        load_data(task)
        found[task.metadata.name] = [
            text for split in task.eval_splits for row in task.dataset[split] for text in _of(row)
        ]
    return found


def _of(row: dict[str, Any]) -> Iterator[str]:
    yield from (value for value in row.values() if isinstance(value, str) and " " in value)
