"""Our own records -> rows: each split and subset that a cell has a score of, and what failed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.mteb_files import Unreadable, read_json

SCHEMA = 1  # of records: the newest that is known here; those without a number are of schema 0
GEOMETRY = [
    *("mean_cosine", "uniformity", "effective_rank", "top_dimension", "top_components"),
    *("alignment", "centred", "whitened"),
]
TRAINING = ["trained_on", "pooler", "steps", "learning_rate", "train_seconds", "trained_as"]
COLUMNS = [
    *("source", "reports", "model", "revision", "adapters", "method", "options", "attention"),
    *("pooling", "layer", "dtype", "instructions", "digest", "default", "task", "type", "split"),
    *("subset", "metric", "score", "score_error", "status", "message", "data", "code", "engine"),
    *("dataset_revision", "statistic", "unit", "texts", "cut_texts", "tokens", "tokens_computed"),
    *("tokens_per_second", "seconds", "peak_memory_mib", "linear_weights", *GEOMETRY),
    *TRAINING,
    *("commit", "date", "command", "runs", "folder", "schema", "record", "benchmark"),
]


def read_cell(path: Path, unread: list[str]) -> list[dict[str, Any]]:
    """The rows of a record; of one that cannot be read none, and `unread` says why.

    Raises ValueError for a record of a newer schema: what its fields mean is not known here.
    """
    try:
        record = read_json(path)
        if not isinstance(record, Mapping):
            raise Unreadable(f"it holds {type(record).__name__}, not an object")
        schema = record.get("schema", 0)
        if isinstance(schema, int) and schema > SCHEMA:
            raise ValueError(
                f"{path} is a record of schema {schema}; known here are those up to {SCHEMA}. "
                f"Report it with the version that wrote it (commit {record.get('commit')}) or newer"
            )
        return list(_cell(path, record))
    except Unreadable as error:
        unread.append(f"{path} is not read: {error}")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        unread.append(
            f"{path} is not read: it is no record as dec2vec writes them "
            f"({type(error).__name__}: {error})"
        )
    return []


def _cell(path: Path, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    folder = path.parent.parent
    options, own = record.get("options", {}), record.get("default", {})
    changed = " (changed)" if record.get("dirty") else ""
    about = {
        **{name: record.get(name) for name in COLUMNS if name in record},
        "source": "run",
        "reports": ", ".join(record.get("reports", [])),
        "adapters": "+".join(_chain(record)),
        "options": ", ".join(f"{key}={value}" for key, value in options.items()),
        "default": bool(own)
        and not options
        and all(record.get(axis) == value for axis, value in own.items()),
        "runs": runs_folder(folder),
        "folder": str(folder),
        "schema": record.get("schema", 0),
        "benchmark": ((record.get("config") or {}).get("tasks") or {}).get("benchmark"),
        "record": json.dumps({k: v for k, v in record.items() if k != "tasks"}, indent=1),
        **_trained(record.get("training", [])),
        "trained_as": _trained_as(record.get("trained_as") or {}),
    }
    for task, entry in record["tasks"].items():
        row = {
            **about,
            **{name: entry[name] for name in COLUMNS if name in entry},
            **{name: (entry.get("examples") or {}).get(name) for name in ("statistic", "unit")},
            "task": task,
            "metric": entry.get("main_score"),
            "message": _message(entry),
        }
        row["commit"] = f"{row['commit']}{changed}" if row.get("commit") else None
        parts = list(_parts(folder / f"{task}.json", entry))
        if entry["status"] == "done" and not parts:  # a record that promises what is not there
            row |= {"status": "missing", "message": f"no scores of it in {task}.json"}
        for part in parts:
            yield {**row, **part, "status": "done"}
        if not parts or entry["status"] != "done":  # what failed hides nothing that is scored
            yield row


def _message(entry: Mapping[str, Any]) -> str | None:
    """What is to be said of a task: why it failed, or what of it is not there."""
    said = [
        *(entry.get("missing_parts") or ()),
        *filter(None, (entry.get("examples_error"), entry.get("geometry_error"))),
    ]
    return entry.get("error") or "; ".join(said) or None


def _chain(record: Mapping[str, Any]) -> list[str]:
    """The adapters of a cell by name, those first that others stand on (below/N_NAME)."""
    given = [Path(adapter).name for adapter in record.get("adapters", [])]
    merged = [part["folder"] for part in record.get("training", []) if "folder" in part]
    return [re.sub(r"^\d+_", "", name) if name not in given else name for name in merged] or given


def _trained(adapters: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What the last adapter of a chain was trained on and how, and the seconds of all of them."""
    if not adapters or "learning_rate" not in adapters[-1]:
        return {}
    last = adapters[-1]
    return {
        "trained_on": ", ".join(last["data"]["sources"]),
        "pooler": last.get("pooler"),
        "steps": last["steps"],
        "learning_rate": last["learning_rate"],
        "train_seconds": sum(adapter.get("seconds", 0) for adapter in adapters),
    }


def _trained_as(differences: Mapping[str, Any]) -> str | None:
    """Where a cell is evaluated otherwise than its adapter was trained, in words."""
    said = (f"{key}={trained}, not {now}" for key, (trained, now) in differences.items())
    return "; ".join(said) or None


def _parts(file: Path, entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The scores of a task's splits and subsets, with their geometry and their data's digest."""
    try:
        result = read_json(file)
    except Unreadable:
        return
    geometry, stamps = entry.get("geometry") or {}, entry.get("parts") or {}
    done = entry["status"] == "done"
    for split in entry["splits"]:
        for scores in result["scores"].get(split, []):
            if (subset := scores["hf_subset"]) in entry["subsets"]:
                stamp = stamps.get(split, {}).get(subset, {})
                if not done and not stamp:
                    continue
                yield {
                    "split": split,
                    "subset": subset,
                    "score": scores["main_score"],
                    "score_error": scores.get("main_score_error"),
                    "dataset_revision": result.get("dataset_revision"),
                    **{name: stamp[name] for name in ("data", "code", "engine") if name in stamp},
                    **geometry.get(split, {}).get(subset, {}),
                }


def runs_folder(folder: Path) -> str:
    """The runs folder that a cell lies in: what stands before results/."""
    for parent in folder.resolve().parents:
        if parent.name == "results":
            return parent.parent.name
    return folder.resolve().parent.name
