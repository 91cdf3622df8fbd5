"""Pairs from nothing, by the E5 recipe: tasks, then examples of them (e5_prompts.py)."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from methods.documents.synthesis.e5_prompts import GROUPS, Group, phrase_example
from methods.documents.synthesis.generators import Answer, Prompt
from methods.documents.synthesis.pairs import Pair, Reject, list_words, make_random, normalize

COPIED = 4  # words; a text of so many that stands in another is copied from there
LINE = re.compile(r"^\s*(?:[-*•]|\(?\d+[.):])\s+(\S.*)$", re.MULTILINE)


def make_task_prompts(groups: Iterable[str], number: int) -> list[Prompt]:
    """Return `number` prompts for tasks of each group whose tasks are not fixed. A local model's
    answer begins as a list, without which small ones write prose."""
    return [
        Prompt(f"tasks/{name}/{place}", tasks, '["')
        for name in groups
        for tasks in [GROUPS[name].tasks]
        if tasks is not None
        for place in range(number)
    ]


def take_tasks(answers: Iterable[Answer]) -> tuple[dict[str, list[str]], list[Reject]]:
    """Return the tasks of each group, each once and in order, and answers that hold no list."""
    tasks: dict[str, list[str]] = {}
    rejects = []
    for answer in answers:
        name = answer.id.split("/")[1]
        found = read_tasks(answer.text)
        if not found:
            reason = "no answer" if answer.error else "no list of tasks"
            rejects.append(Reject(answer.id, f"{name}, tasks", reason, answer.error or answer.text))
        own = tasks.setdefault(name, [])
        seen = {normalize(task) for task in own}
        own += [task for task in found if normalize(task) not in seen]
    return tasks, rejects


def read_tasks(text: str) -> list[str]:
    """Return the strings of a list that a model wrote: Python's, JSON's, either mended, or the
    items of a numbered one. A task has at least three words."""
    found: Any = None
    if "[" in text:
        whole = text[text.index("[") : text.rfind("]") + 1 or None]
        try:
            found = ast.literal_eval(whole)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            found = _mend(whole)
    if not isinstance(found, list) or not any(isinstance(one, str) for one in found):
        found = LINE.findall(text)
    clean = (" ".join(one.split()).strip("\"', ") for one in found if isinstance(one, str))
    return list(dict.fromkeys(one for one in clean if len(list_words(one)) >= 3))


def make_example_prompts(
    groups: Iterable[str],
    number: int,
    tasks: Mapping[str, Sequence[str]],
    *,
    languages: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, tuple[Prompt, str]]:
    """Return `number` prompts for examples of each group by id, each with its instruction.

    What an example draws (task, lengths, language ...) follows from its id and the seed. A group
    whose tasks are not fixed and of which there are none has no prompt.
    """
    made = {}
    for name in groups:
        group, own = GROUPS[name], tasks.get(name, [])
        for place in range(number if group.tasks is None or own else 0):
            id = f"example/{name}/{place}"
            draw = make_random(seed, id)
            task = group.instruction or draw.choice(list(own))
            text = phrase_example(group, draw, task=task, languages=languages)
            made[id] = (Prompt(id, text, f'{{"{group.keys[0]}": "'), task)
    return made


def take_examples(
    prompts: Mapping[str, tuple[Prompt, str]], answers: Mapping[str, Answer]
) -> tuple[list[Pair], list[Reject], int]:
    """Return the usable examples, the others with the reason, and how many of the usable ones had
    their JSON mended."""
    pairs, rejects, mended = [], [], 0
    seen: set[str] = set()
    for id, (prompt, task) in prompts.items():
        if (answer := answers.get(id)) is None:
            continue
        name = id.split("/")[1]
        texts, was_mended, reason = read_example(answer.text, GROUPS[name], prompt.text)
        reason = "no answer" if answer.error else reason
        if reason is None and normalize(texts[0]) in seen:
            reason = "duplicate"
        if reason is not None:
            rejects.append(Reject(id, name, reason, answer.error or answer.text))
            continue
        seen.add(normalize(texts[0]))
        mended += was_mended
        pairs.append(
            Pair(id, name, texts[0], texts[1], id, negatives=tuple(texts[2:]), instruction=task)
        )
    return pairs, rejects, mended


def read_example(text: str, group: Group, prompt: str) -> tuple[list[str], bool, str | None]:
    """Return the texts of a JSON object by the group's keys, whether it had to be mended, and what
    is wrong with it."""
    found, mended = _read_object(text)
    if found is None:
        return [], mended, "broken JSON"
    if any(key not in found for key in group.keys):
        return [], mended, "a key is missing"
    texts = [found[key] for key in group.keys]
    if not all(isinstance(one, str) and one.strip() for one in texts):
        return [], mended, "no text under a key"
    texts = [one.strip() for one in texts]
    return texts, mended, find_example_reject(texts, group, prompt)


def find_example_reject(texts: Sequence[str], group: Group, prompt: str) -> str | None:
    """Return why the texts of an example are not usable, or None."""
    plain = [normalize(one) for one in texts]
    sizes = [len(list_words(one)) for one in texts]
    asked = normalize(prompt)
    if any(size >= 3 and one in asked for one, size in zip(plain, sizes, strict=True)):
        return "copied from the prompt"
    if any(size < least for size, least in zip(sizes, group.fewest, strict=False)):
        return "too short"
    if len(set(plain)) < len(plain):
        return "two texts are the same"
    if sizes[0] >= COPIED and plain[0] in plain[1]:
        return "query copied into the positive"
    if "label" in group.keys and any(f" {one} " in f" {plain[0]} " for one in plain[1:]):
        return "label in the text"
    return None


def _read_object(text: str) -> tuple[dict[str, Any] | None, bool]:
    """Return the JSON object of a text, and whether it had to be mended."""
    text = text.strip()
    try:
        found, mended = json.loads(text), False
    except ValueError:
        found, mended = (_mend(text[text.index("{") :]) if "{" in text else None), True
    if isinstance(found, list):
        found = next((one for one in found if isinstance(one, dict)), None)
    return (found, mended) if isinstance(found, dict) else (None, mended)


def _mend(text: str) -> Any:
    import json_repair

    try:
        return json_repair.loads(text)
    except (ValueError, RecursionError):  # brackets without end
        return None
