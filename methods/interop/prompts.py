"""Decide the prompts of an exported folder: what a text's side and instruction are called by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from methods.base import Method
from methods.encoding.instructions import Instructions


@dataclass(frozen=True)
class Prompt:
    """A prompt by its name in the folder, and what it means to the method."""

    name: str
    side: Literal["query", "document"]
    instruction: str | None = None

    @property
    def text(self) -> str:
        """Return what names it where no text is put in front: its instruction, else its side."""
        return self.instruction or self.side


def list_prompts(
    method: Method,
    *,
    instruction: str | None,
    tasks: Sequence[str],
    instructions: Instructions,
) -> list[Prompt]:
    """Return the prompts of a folder: query, document, and one for each task by its name.

    instruction: of queries; None for the first task's. tasks: mteb's, whose instructions are used.
    Raises ValueError where a method that uses instructions has none, and the other way round.
    """
    name = type(method).__name__
    if not method.uses_instructions:
        if instruction or tasks:
            raise ValueError(f"{name} uses no instruction; leave instruction= and task= out")
        return [Prompt("query", "query"), Prompt("document", "document")]
    if instruction is None and not tasks:
        raise ValueError(
            f"{name} encodes queries with an instruction, which an exported folder holds as its "
            f"prompt; give instruction='...', or task=NAME for that of a task of mteb (a list for "
            f"a prompt each)"
        )
    if clash := [task for task in tasks if task in ("query", "document")]:
        raise ValueError(f"task={clash[0]} is the name of a side, and no task of mteb")
    found = {task: method.phrase_instruction(instructions.find(_find_task(task))) for task in tasks}
    first = next(iter(found.values())) if instruction is None else instruction
    named = [Prompt(task, "query", text) for task, text in found.items()]
    return [Prompt("query", "query", first or None), Prompt("document", "document"), *named]


def _find_task(name: str) -> Any:
    from methods.config.settings import TaskList
    from methods.evaluation.tasks import load_tasks  # mteb comes with it

    return load_tasks(TaskList(names=[name]))[0][0].metadata
