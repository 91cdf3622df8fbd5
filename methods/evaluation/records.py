"""The run record: one `run.json` a cell, beside mteb's own result files.

    runs/results/<org__model>/<revision>/experiments/<cell>/<Task>.json      mteb's, and
    runs/results/<org__model>/<revision>/experiments/<cell>/record/run.json  ours
    runs/results/<org__model>/<revision>/experiments/<cell>/record/examples/<Task>.csv.gz

The record stands one folder deeper because mteb takes every .json beside its results for a result.
Every file is written aside and renamed, so that a killed run leaves none in half.
"""

from __future__ import annotations

import gzip
import hashlib
import inspect
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock
from mteb import TaskResult
from mteb.cache import ResultCache
from mteb.models.model_meta import ModelMeta

from methods.backbone.cache import code_digest
from methods.evaluation.examples import Examples

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "mteb", "datasets", "numpy")


class WholeResultCache(ResultCache):
    """mteb's result cache, except that a result file is there whole or not at all."""

    def save_to_cache(
        self, task_result: TaskResult, model_name: Any, model_revision: Any = None, **_: Any
    ) -> None:
        path = Path(
            self.get_task_result_path(
                model_name=model_name,
                model_revision=model_revision,
                task_name=task_result.task_name,
            )
        )
        write_whole(path, json.dumps(task_result.to_dict(), indent=2, default=str))
        if isinstance(model_name, ModelMeta):
            meta = json.dumps(model_name.to_dict(), indent=2, default=str)
            write_whole(path.parent / "model_meta.json", meta)

    def load_task_result(self, *args: Any, **kwargs: Any) -> TaskResult | None:
        """A stored result, or None where there is none that can be read."""
        try:
            return super().load_task_result(*args, **kwargs)
        except (ValueError, KeyError):
            return None


class Record:
    """The record of one cell, read and written as a whole."""

    def __init__(self, runs: Path, meta: ModelMeta) -> None:
        self.cache = WholeResultCache(runs)
        self.meta = meta
        path = Path(self.cache.get_task_result_path(task_name="any", model_name=meta))
        self.path = path.parent / "record" / "run.json"

    def read(self) -> dict[str, Any]:
        """The record as it stands; an unreadable one counts as none."""
        try:
            return json.loads(self.path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def describe(self, about: Mapping[str, Any]) -> None:
        """State what the cell is; tasks recorded before stay, and the reports it is part of."""

        def change(record: dict[str, Any]) -> dict[str, Any]:
            reports = dict.fromkeys([*record.get("reports", []), *about.get("reports", [])])
            return {**about, "reports": list(reports), "tasks": record.get("tasks", {})}

        self._change(change)

    def note(self, task: str, entry: Mapping[str, Any]) -> None:
        """State how a task stands."""
        self._change(
            lambda record: {**record, "tasks": {**record.get("tasks", {}), task: dict(entry)}}
        )

    def note_absent(self, task: str, entry: Mapping[str, Any]) -> None:
        """State why a task has no score, unless it has one: what is finished is never lost."""
        if self.read().get("tasks", {}).get(task, {}).get("status") != "done":
            self.note(task, entry)

    def keep_examples(self, task: str, examples: Examples) -> dict[str, Any]:
        """Write a task's examples beside the record; what to state of them in its entry.

        Splits and subsets written before and not scored this time stay.
        """
        path = self.path.parent / "examples" / f"{task}.csv.gz"
        frame, part = examples.frame, ["split", "subset"]
        if path.exists():
            before = pd.read_csv(path, dtype={"example": str}, keep_default_na=False)
            new = pd.MultiIndex.from_frame(frame[part].drop_duplicates())
            frame = pd.concat([before[~pd.MultiIndex.from_frame(before[part]).isin(new)], frame])
        packed = gzip.compress(frame.to_csv(index=False, float_format="%.6g").encode(), mtime=0)
        write_whole(path, packed)
        return {"statistic": examples.statistic, "unit": examples.unit, "count": len(frame)}

    def finished(self, task: Any, *, data: str, code: str) -> bool:
        """Whether every split and subset asked for is scored, with this data and this code."""
        entry = self.read().get("tasks", {}).get(task.metadata.name, {})
        if entry.get("status") != "done" or not self.resumable(task, data=data, code=code):
            return False
        result = self.cache.load_task_result(task.metadata.name, self.meta)
        return result is not None and not result.get_missing_evaluations(task)

    def resumable(self, task: Any, *, data: str, code: str) -> bool:
        """Whether what is stored of a task comes from exactly this data and this code."""
        entry = self.read().get("tasks", {}).get(task.metadata.name, {})
        return entry.get("data") == data and entry.get("code") == code

    def _change(self, change: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            write_whole(self.path, json.dumps(change(self.read()), indent=2, default=str) + "\n")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file aside and rename it. An OSError names the folder it could not write to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content.encode() if isinstance(content, str) else content)
            os.chmod(aside, 0o644)
            os.replace(aside, path)
        finally:
            Path(aside).unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path.name} in {path.parent}: {error}") from error


def check_writable(runs: Path) -> None:
    """Fail now, not after an hour, if the runs folder cannot be written."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs):
            pass
    except OSError as error:
        raise ValueError(
            f"the runs folder {runs.resolve()} cannot be written ({error.strerror}); "
            f"give another one: runs=DIR"
        ) from error


def digest(value: Any) -> str:
    """Eight hex digits of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def code_fingerprint(cls: type) -> str:
    """A digest of the modules a method is written in, without their docstrings and comments.

    It stands in every task's entry, so that whoever edits a method gets new scores, not old ones.
    """
    shared = ("methods.base", "abc", "builtins")
    modules = [inspect.getmodule(c) for c in cls.__mro__ if c.__module__ not in shared]
    return code_digest(*dict.fromkeys(filter(None, modules)))


def environment() -> dict[str, Any]:
    """What the numbers were made with: package versions, machine, commit."""
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **commit(),
    }


@cache
def commit() -> dict[str, Any]:
    """The commit of this code, and whether it was changed since."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    name = done.stdout.strip()
    return {"commit": name.removesuffix("-dirty"), "dirty": name.endswith("-dirty")}
