"""Find a task's instruction: mteb's own prompt by default, or a published table."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

log = logging.getLogger(__name__)
OWN_DATA = "dec2vec/own/"  # what the dataset path of a task on the user's own files begins with
# What such a task is encoded with where the user gives no instruction: mteb's, of the whole type.
DEFAULTS = {
    "STS": "Retrieve semantically similar text.",
    "PairClassification": "Retrieve text that are semantically similar to the given text.",
    "Classification": "Classify user passages.",
    "Clustering": "Identify categories in user passages.",
    "Retrieval": "Retrieve text based on user query.",
}


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
        if is_own_task(metadata):
            return self._find_own(metadata)
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

    def _find_own(self, metadata: Any) -> str:
        """Return what is given for a task on the user's own files, by name or beside its path; else
        the table's of its type, else a default."""
        if found := self._given(metadata) or read_own_instruction(metadata):
            return found
        if found := self.types.get(metadata.type):
            return found
        _warn_default(metadata.name, DEFAULTS[metadata.type])
        return DEFAULTS[metadata.type]

    def _given(self, metadata: Any) -> str | None:
        """Return what is given for a task by name, or for the task that own data derive from."""
        names = (metadata.name, find_original_name(metadata.name))
        return next((self.tasks[name] for name in names if name in self.tasks), None)


def find_original_name(name: str) -> str:
    """Return the name of the mteb task that a task of own data derives from, else the name."""
    return re.sub(r"-own-[0-9a-f]{8}$", "", name)


def is_own_task(metadata: Any) -> bool:
    """Return whether a task is made of files of the user's (tasks.own)."""
    return (getattr(metadata, "dataset", None) or {}).get("path", "").startswith(OWN_DATA)


def read_own_instruction(metadata: Any) -> str | None:
    """Return the instruction that was given with a task on the user's own files, or None."""
    prompt = metadata.prompt
    return prompt.get("query") if isinstance(prompt, Mapping) else prompt


def is_default(metadata: Any, instruction: str) -> bool:
    """Return whether a task on the user's own files is encoded with an instruction that nobody gave
    for it."""
    return is_own_task(metadata) and instruction == DEFAULTS[metadata.type] and not metadata.prompt


@cache
def _warn_default(name: str, instruction: str) -> None:
    log.warning(
        "%s has no instruction of its own; it is encoded with %r. To give one: "
        "tasks.own=[{path: PATH, instruction: '...'}]",
        *(name, instruction),
    )


def _class_prompt(task: str) -> str | None:
    """Return mteb's prompt for a whole type of task, which mteb falls back to as well."""
    from mteb.abstasks.abstask import get_abstask_prompt

    try:
        return get_abstask_prompt(task)
    except KeyError:
        return None
