"""The run record: one `run.json` a cell, beside mteb's own result files.

    runs/results/<org__model>/<revision>/experiments/<cell>/<Task>.json      mteb's, and
    runs/results/<org__model>/<revision>/experiments/<cell>/record/run.json  ours
    runs/results/<org__model>/<revision>/experiments/<cell>/record/examples/<Task>.csv.gz

The record stands one folder deeper because mteb takes every .json beside its results for a result.
What its fields mean is in methods/records.py. A score is kept by what it was made from: each split
and subset of a task has a stamp of its own, so that one run never erases or repeats another's.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock
from mteb import TaskResult
from mteb.cache import ResultCache
from mteb.models.model_meta import ModelMeta

from methods.evaluation.per_example import Examples
from methods.records import CellRecord, PartRecord, TaskRecord, read_json, write_whole

Part = tuple[str, str]  # a split and a subset


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
        self.path = self.result_file("any").parent / "record" / "run.json"

    def result_file(self, task: str) -> Path:
        """Return where mteb keeps a task's scores of this cell."""
        return Path(self.cache.get_task_result_path(task_name=task, model_name=self.meta))

    def read(self) -> dict[str, Any]:
        """Return the record as it stands; one that was cut short counts as none."""
        if not self.path.is_file():
            return {}
        try:
            json.loads(self.path.read_text(encoding="utf-8"))
        except ValueError:
            return {}
        return read_json(self.path)

    def describe(self, about: CellRecord) -> None:
        """State what the cell is; tasks recorded before stay, and the reports it is part of."""

        def change(record: dict[str, Any]) -> dict[str, Any]:
            reports = dict.fromkeys([*record.get("reports", []), *about.reports])
            stated = {**about.to_json(), "reports": list(reports)}
            return {**stated, "tasks": record.get("tasks", {})}

        self._change(change)

    def write_entry(self, task: str, entry: TaskRecord) -> None:
        """State how a task stands."""
        stated = entry.to_json()
        self._change(lambda record: {**record, "tasks": {**record.get("tasks", {}), task: stated}})

    def write_entry_unless_scored(self, task: str, entry: TaskRecord) -> None:
        """State why a task has no score, unless it has one: what is finished is never lost."""
        before = self.read().get("tasks", {}).get(task, {})
        if before.get("status") != "done" and not self.scored(task, before):
            self.write_entry(task, entry)

    def entry(self, task: str) -> dict[str, Any]:
        """Return how a task stands; empty if it was never asked for."""
        return self.read().get("tasks", {}).get(task, {})

    def scored(self, task: str, entry: Mapping[str, Any]) -> dict[Part, PartRecord]:
        """Return the parts of a task that have a score, with where it comes from.

        Scores of schema 0 have one stamp for all splits and subsets of their run; it is theirs
        only where there is one part. Else they are kept, and computed again when asked for.
        """
        result = self.cache.load_task_result(task, self.meta)
        if result is None:
            return {}
        there = {(s, e["hf_subset"]) for s, entries in result.scores.items() for e in entries}
        stamps = {
            (split, subset): PartRecord.from_json(part)
            for split, subsets in entry.get("parts", {}).items()
            for subset, part in subsets.items()
        }
        if "parts" not in entry and entry.get("status") == "done":
            data = entry["data"] if len(there) == 1 else "of several parts"
            old = PartRecord(data=data, code=entry["code"], commit=entry.get("commit"))
            stamps = dict.fromkeys(there, old)
        return {part: stamp for part, stamp in stamps.items() if part in there}

    def drop_scores(self, task: str, parts: Iterable[Part]) -> None:
        """Take scores out of mteb's file that are about to be computed again."""
        result, gone = self.cache.load_task_result(task, self.meta), set(parts)
        if result is None:
            self.result_file(task).unlink(missing_ok=True)
            return
        kept = {
            split: [entry for entry in entries if (split, entry["hf_subset"]) not in gone]
            for split, entries in result.scores.items()
        }
        result.scores = {split: entries for split, entries in kept.items() if entries}
        if result.scores:
            self.cache.save_to_cache(result, self.meta)
        else:
            self.result_file(task).unlink(missing_ok=True)

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
        packed = gzip.compress(frame.to_csv(index=False, float_format="%.9g").encode(), mtime=0)
        write_whole(path, packed)
        return {"statistic": examples.statistic, "unit": examples.unit, "count": len(frame)}

    def without_examples(self, task: str, parts: Iterable[Part]) -> list[Part]:
        """Return those of a task's parts whose examples are not kept."""
        path = self.path.parent / "examples" / f"{task}.csv.gz"
        kept: set[Any] = set()
        if path.exists():
            frame = pd.read_csv(path, usecols=["split", "subset"], dtype=str, keep_default_na=False)
            kept = set(frame.drop_duplicates().itertuples(index=False, name=None))
        return [part for part in parts if part not in kept]

    def _change(self, change: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            write_whole(self.path, json.dumps(change(self.read()), indent=2, default=str) + "\n")


def nest(stamps: Mapping[Part, PartRecord]) -> dict[str, dict[str, PartRecord]]:
    """Return stamps by split and subset, as a record holds them."""
    found: dict[str, dict[str, PartRecord]] = {}
    for (split, subset), stamp in stamps.items():
        found.setdefault(split, {})[subset] = stamp
    return found
