"""Read and write the run record: one `run.json` a cell, beside mteb's own result files.

    runs/results/<org__model>/<revision>/experiments/<cell>/<Task>.json      mteb's, and
    runs/results/<org__model>/<revision>/experiments/<cell>/record/run.json  ours
    runs/results/<org__model>/<revision>/experiments/<cell>/record/examples/<Task>.csv.gz

The record is one folder deeper because mteb takes every .json beside its results for a result. Its
fields are described in methods/records.py. A score is identified by what it was made from: each
split and subset of a task has a stamp of its own, so that no run erases or repeats another's.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock
from mteb.models.model_meta import ModelMeta

from methods.evaluation.mteb_internals import AtomicResultCache
from methods.evaluation.per_example import Examples
from methods.records import CellRecord, PartRecord, TaskRecord, read_json, write_atomically

Part = tuple[str, str]  # a split and a subset


class Record:
    """The record of one cell, read and written as a whole."""

    def __init__(self, runs: Path, meta: ModelMeta) -> None:
        self.cache = AtomicResultCache(runs)
        self.meta = meta
        self.path = self.find_result_file("any").parent / "record" / "run.json"

    def find_result_file(self, task: str) -> Path:
        """Return where mteb stores a task's scores of this cell."""
        return self.cache.find_result_file(task, self.meta)

    def read(self) -> dict[str, Any]:
        """Return the record; empty where there is none, or a truncated one."""
        if not self.path.is_file():
            return {}
        try:
            json.loads(self.path.read_text(encoding="utf-8"))
        except ValueError:
            return {}
        return read_json(self.path)

    def write_header(self, about: CellRecord) -> None:
        """Write what the cell is; its tasks and the reports it was part of are retained."""

        def change(record: dict[str, Any]) -> dict[str, Any]:
            reports = dict.fromkeys([*record.get("reports", []), *about.reports])
            stated = {**about.to_json(), "reports": list(reports)}
            return {**stated, "tasks": record.get("tasks", {})}

        self._change(change)

    def write_entry(self, task: str, entry: TaskRecord) -> None:
        """Write a task's entry."""
        stated = entry.to_json()
        self._change(lambda record: {**record, "tasks": {**record.get("tasks", {}), task: stated}})

    def write_entry_unless_scored(self, task: str, entry: TaskRecord) -> None:
        """Write why a task has no score, unless it has one: a finished score is never lost."""
        before = self.read().get("tasks", {}).get(task, {})
        if before.get("status") != "done" and not self.read_stamps(task, before):
            self.write_entry(task, entry)

    def read_entry(self, task: str) -> dict[str, Any]:
        """Return a task's entry; empty if it was never evaluated."""
        return self.read().get("tasks", {}).get(task, {})

    def read_stamps(self, task: str, entry: Mapping[str, Any]) -> dict[Part, PartRecord]:
        """Return the parts of a task that have a score, with where it comes from.

        Scores of schema 0 have one stamp for all splits and subsets of their run, which is used
        where there is one part. Those of several parts are recomputed when requested.
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
        """Remove scores that are about to be recomputed from mteb's file."""
        result, gone = self.cache.load_task_result(task, self.meta), set(parts)
        if result is None:
            self.find_result_file(task).unlink(missing_ok=True)
            return
        kept = {
            split: [entry for entry in entries if (split, entry["hf_subset"]) not in gone]
            for split, entries in result.scores.items()
        }
        result.scores = {split: entries for split, entries in kept.items() if entries}
        if result.scores:
            self.cache.save_to_cache(result, self.meta)
        else:
            self.find_result_file(task).unlink(missing_ok=True)

    def write_examples(self, task: str, examples: Examples) -> dict[str, Any]:
        """Write a task's examples beside the record; return what its entry states of them.

        Splits and subsets of earlier runs that were not scored now are retained; a column that one
        of them lacks is empty there.
        """
        path = self.path.parent / "examples" / f"{task}.csv.gz"
        frame, part = examples.frame, ["split", "subset"]
        text = frame.to_csv(index=False, float_format="%.9g")
        if path.exists():  # merged as text: numbers would be rounded again
            before, new = (
                pd.read_csv(file, dtype=str, keep_default_na=False)
                for file in (path, io.StringIO(text))
            )
            stays = ~pd.MultiIndex.from_frame(before[part]).isin(
                pd.MultiIndex.from_frame(new[part])
            )
            frame = pd.concat([before[stays], new])
            text = frame.to_csv(index=False)
        write_atomically(path, gzip.compress(text.encode(), mtime=0))
        return {"statistic": examples.statistic, "unit": examples.unit, "count": len(frame)}

    def list_without_examples(self, task: str, parts: Iterable[Part]) -> list[Part]:
        """Return those of a task's parts that have no examples on disk."""
        path = self.path.parent / "examples" / f"{task}.csv.gz"
        kept: set[Any] = set()
        if path.exists():
            frame = pd.read_csv(path, usecols=["split", "subset"], dtype=str, keep_default_na=False)
            kept = set(frame.drop_duplicates().itertuples(index=False, name=None))
        return [part for part in parts if part not in kept]

    def _change(self, change: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            write_atomically(
                self.path, json.dumps(change(self.read()), indent=2, default=str) + "\n"
            )


def nest_stamps(stamps: Mapping[Part, PartRecord]) -> dict[str, dict[str, PartRecord]]:
    """Return stamps by split and subset, as a record holds them."""
    found: dict[str, dict[str, PartRecord]] = {}
    for (split, subset), stamp in stamps.items():
        found.setdefault(split, {})[subset] = stamp
    return found
