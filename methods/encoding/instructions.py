"""Find a task's instruction: mteb's own prompt by default, or one of two published tables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """Where a task's instruction comes from. A task without one is an error, never "".

    source: `mteb` (each task's own prompt) or `table`.
    tasks: task name -> instruction. prefixes: for names that start so. types: for whole task types.
    """

    source: str = "mteb"
    tasks: Mapping[str, str] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)

    def find(self, metadata: Any) -> str:
        """Return the instruction for a task's queries and symmetric texts, by its mteb metadata."""
        found = self._prompt(metadata) if self.source == "mteb" else self._look_up(metadata)
        if not found:
            raise ValueError(
                f"task {metadata.name} ({metadata.type}) has no instruction in "
                f"{'mteb' if self.source == 'mteb' else f'the {self.source} table'}. Add it: "
                f"'+instructions.tasks.{metadata.name}=\"...\"', or choose instructions=mteb, or "
                f"leave the task out."
            )
        return found

    def _look_up(self, metadata: Any) -> str | None:
        for prefix, instruction in self.prefixes.items():
            if metadata.name.lower().startswith(prefix):
                return instruction
        return self._given(metadata) or self.types.get(metadata.type)

    def _prompt(self, metadata: Any) -> str | None:
        if (given := self._given(metadata)) is not None:
            return given
        prompt = metadata.prompt
        if isinstance(prompt, Mapping):
            return prompt.get("query")
        return prompt or _class_prompt(find_original_name(metadata.name))

    def _given(self, metadata: Any) -> str | None:
        """Return what is given for a task by name, or for the task that own data derive from."""
        names = (metadata.name, find_original_name(metadata.name))
        return next((self.tasks[name] for name in names if name in self.tasks), None)


def find_original_name(name: str) -> str:
    """Return the name of the mteb task that a task of own data derives from, else the name."""
    return re.sub(r"-own-[0-9a-f]{8}$", "", name)


def _class_prompt(task: str) -> str | None:
    """Return mteb's prompt for a whole type of task, which mteb falls back to as well."""
    from mteb.abstasks.abstask import get_abstask_prompt

    try:
        return get_abstask_prompt(task)
    except KeyError:
        return None
