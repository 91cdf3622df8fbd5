"""Our own records -> rows: each split and subset that a cell has a score of, and what failed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.records.columns import COLUMNS
from analysis.records.mteb_files import Unreadable, read_json

SCHEMA = 1  # of records: the newest that is known here; those without a number are of schema 0


def read_cell(path: Path, unread: list[str]) -> list[dict[str, Any]]:
    """Return the rows of a record; none where it cannot be read, and the reason goes to `unread`.

    Raises ValueError for a record of a newer schema, whose fields may mean something else.
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
        return list(_read_tasks(path, record))
    except Unreadable as error:
        unread.append(f"{path} is not read: {error}")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        unread.append(
            f"{path} is not read: it is no record as dec2vec writes them "
            f"({type(error).__name__}: {error})"
        )
    return []


def _read_tasks(path: Path, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    folder = path.parent.parent
    about = _describe_cell(folder, record)
    changed = " (changed)" if record.get("dirty") else ""
    for task, entry in record["tasks"].items():
        row = {
            **about,
            **{name: entry[name] for name in COLUMNS if name in entry},
            **{name: (entry.get("examples") or {}).get(name) for name in ("statistic", "unit")},
            "task": task,
            "metric": entry.get("main_score"),
            "message": _explain(entry),
        }
        row["commit"] = f"{row['commit']}{changed}" if row.get("commit") else None
        parts = list(_read_parts(folder / f"{task}.json", entry))
        if entry["status"] == "done" and not parts:  # the record says done, and the scores are gone
            row |= {"status": "missing", "message": f"no scores of it in {task}.json"}
        for part in parts:
            yield {**row, **part, "status": "done"}
        if not parts or entry["status"] != "done":  # parts that are scored stay, whatever failed
            yield row


def _describe_cell(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all rows of a cell share."""
    options, own = record.get("options", {}), record.get("default", {})
    return {
        **{name: record.get(name) for name in COLUMNS if name in record},
        "source": "run",
        "reports": ", ".join(record.get("reports", [])),
        "adapters": "+".join(_list_adapters(record)),
        "options": ", ".join(f"{key}={value}" for key, value in options.items()),
        **_describe_post(record.get("post")),
        "default": bool(own)
        and not options
        and not record.get("post")
        and all(record.get(axis) == value for axis, value in own.items()),
        "runs": find_runs_folder(folder),
        "folder": str(folder),
        "schema": record.get("schema", 0),
        "benchmark": ((record.get("config") or {}).get("tasks") or {}).get("benchmark"),
        "record": json.dumps({k: v for k, v in record.items() if k != "tasks"}, indent=1),
        **_summarize_training(record.get("training", [])),
        "trained_as": _list_differences(record.get("trained_as") or {}),
    }


def _describe_post(post: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what was done to vectors after pooling, and the texts it was fitted on."""
    fitted = (post or {}).get("fitted_on") or {}
    return {"post": (post or {}).get("steps"), "fitted_on": fitted.get("name")}


def _explain(entry: Mapping[str, Any]) -> str | None:
    """Return why a task failed, or what is missing of it."""
    reasons = [
        *(entry.get("missing_parts") or ()),
        *filter(None, (entry.get("examples_error"), entry.get("geometry_error"))),
    ]
    return entry.get("error") or "; ".join(reasons) or None


def _list_adapters(record: Mapping[str, Any]) -> list[str]:
    """Return the names of a cell's adapters, parents first (they lie in below/N_NAME)."""
    given = [Path(adapter).name for adapter in record.get("adapters", [])]
    merged = [part["folder"] for part in record.get("training", []) if "folder" in part]
    return [re.sub(r"^\d+_", "", name) if name not in given else name for name in merged] or given


def _summarize_training(adapters: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how the last adapter of a stack was trained, and the seconds of the whole stack."""
    if not adapters or "learning_rate" not in adapters[-1]:
        return {}
    last = adapters[-1]
    return {
        "trained_on": ", ".join(last["data"]["sources"]),
        "pooler": last.get("pooler"),
        "seed": last.get("seed"),
        "steps": last["steps"],
        "learning_rate": last["learning_rate"],
        "train_seconds": sum(adapter.get("seconds", 0) for adapter in adapters),
    }


def _list_differences(differences: Mapping[str, Any]) -> str | None:
    """Return in which fields a cell is evaluated otherwise than its adapter was trained."""
    texts = (f"{key}={trained}, not {now}" for key, (trained, now) in differences.items())
    return "; ".join(texts) or None


def _read_parts(file: Path, entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a task's scores by split and subset, with their geometry and digests."""
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


def find_runs_folder(folder: Path) -> str:
    """Return the name of the runs folder that a cell lies in: the one above results/."""
    for parent in folder.resolve().parents:
        if parent.name == "results":
            return parent.parent.name
    return folder.resolve().parent.name
