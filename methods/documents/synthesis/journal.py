"""The answers of a generator on disk: appended, flushed, and never asked for twice.

    OUT/manifest.json    what decides the answers; another generator or prompt is refused
    OUT/answers.jsonl    an answer a line, in the order in which they came

A process that is killed leaves at most one line without its end, which the next run removes.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from methods.documents.synthesis.generators import Answer, Generator, Prompt
from methods.records import read_json, write_atomically

log = logging.getLogger(__name__)


class Journal:
    """The folder of an output. `lock` it before anything is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file, self.manifest = folder / "answers.jsonl", folder / "manifest.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this block. Raises ValueError if another process does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ValueError(
                f"another process is writing {self.folder}; wait for it, or give another out=DIR"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def open(self, about: Mapping[str, Any]) -> None:
        """Write the manifest, or check it. about: what decides the answers.

        Raises ValueError for a folder that was made with anything else, naming what differs.
        """
        about = json.loads(json.dumps(about))
        if not self.manifest.is_file():
            others = [p.name for p in self.folder.iterdir() if not p.name.startswith(".")]
            if others:
                raise ValueError(
                    f"{self.folder} holds other files ({', '.join(sorted(others)[:3])}); give an "
                    f"empty or a new folder: out=DIR"
                )
            text = json.dumps({"schema": 1, **about}, indent=2, ensure_ascii=False)
            write_atomically(self.manifest, text + "\n")
            return
        stated = read_json(self.manifest)
        differing = sorted(k for k in about if stated.get(k) != about[k])
        if differing:
            key = differing[0]
            raise ValueError(
                f"{self.folder} was begun with another {key} ({_shorten(stated.get(key))}, now "
                f"{_shorten(about[key])}); give another out=DIR, or the settings it was begun with"
            )

    def read(self) -> dict[str, Answer]:
        """Return the answers by id, after removing a line that a killed process left unfinished.
        Of several answers to one prompt, all but the last are errors."""
        if not self.file.is_file():
            return {}
        content = self.file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self.file.open("r+b") as stream:
                stream.truncate(whole)
        found: dict[str, Answer] = {}
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                answer = Answer(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"{self.file}, line {number} is no answer ({error}); remove the line, and its "
                    f"prompt is asked again"
                ) from error
            found[answer.id] = answer
        return found

    def complete(
        self, prompts: Sequence[Prompt], generator: Generator, *, title: str
    ) -> dict[str, Answer]:
        """Return the answers of prompts by id; those that are not there are asked for first."""
        stored = self.read()
        done = {id for id, answer in stored.items() if answer.error is None}
        asked = [prompt.id for prompt in prompts]
        begun = sum(id in done for id in asked)
        if begun:
            log.info("%s: %d of %d prompts are answered", title, begun, len(asked))
        if begun < len(asked):
            with (
                self.file.open("ab", buffering=0) as stream,
                tqdm(total=len(asked), initial=begun, desc=title, unit="prompt") as bar,
            ):
                tokens = 0
                for answers in generator.write(prompts, done):
                    _append(stream, answers)
                    stored |= {answer.id: answer for answer in answers}
                    tokens += sum(answer.tokens for answer in answers)
                    speed = tokens / max(bar.format_dict["elapsed"], 1e-9)
                    bar.set_postfix_str(f"{tokens} tokens, {speed:.1f} tokens/s", refresh=False)
                    bar.update(len(answers))
        return {id: stored[id] for id in asked if id in stored}


def _append(stream: Any, answers: Sequence[Answer]) -> None:
    """Write answers in one piece, and have the disk hold them before more are asked for."""
    lines = [json.dumps(answer.to_json(), ensure_ascii=False) + "\n" for answer in answers]
    left = memoryview("".join(lines).encode("utf-8", "replace"))
    while left:
        left = left[stream.write(left) :]
    os.fsync(stream.fileno())


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 120 else text[:117] + "..."
