"""Records -> one tidy frame: a row per model x method x cell x task x split x subset.

Reads any folder that holds `record/run.json` files (see runs/README.md). A task that failed or is
missing has a row too, without a score, so that no average can hide it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

log = logging.getLogger(__name__)

COLUMNS = [
    *("model", "revision", "adapters", "method", "options", "attention", "pooling", "layer"),
    *("dtype", "instructions", "digest", "task", "type", "split", "subset", "metric", "score"),
    *("score_error", "status", "message", "data", "tokens", "tokens_per_second", "seconds"),
    *("cut_texts", "peak_memory_mib", "commit", "date", "command", "folder"),
]


def load_results(folders: Iterable[str | Path]) -> pd.DataFrame:
    """All rows under some folders, in COLUMNS: of `results/` where a folder has it, else of all.

    Raises ValueError where there is no record.
    """
    rows: list[dict[str, Any]] = []
    for folder in folders:
        root = Path(folder)  # a runs folder may hold other runs folders: runs/demo, runs/reference
        root = root / "results" if (root / "results").is_dir() else root
        records = sorted(root.rglob("record/run.json"))
        if not records:
            raise ValueError(
                f"{folder} holds no records (**/record/run.json); run dec2vec evaluate"
            )
        for record in records:
            rows += _cell(record)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    for warning in inconsistencies(frame):
        log.warning("%s", warning)
    return frame


def inconsistencies(frame: pd.DataFrame) -> list[str]:
    """What makes rows of a frame not comparable, in sentences."""
    found = []
    done = frame[frame["status"] == "done"]
    for task, group in done.groupby("task"):
        if group["data"].nunique() > 1:
            found.append(f"{task} was scored on {group['data'].nunique()} different sets of data")
    cell = ["model", "adapters", "method", "options", "attention", "pooling", "layer"]
    for key, group in done.groupby([*cell, "task", "split", "subset"], dropna=False):
        if len(group) > 1:
            dtypes = ", ".join(sorted(group["dtype"].unique()))
            found.append(f"{key[2]} on {key[7]} stands there {len(group)} times (dtypes: {dtypes})")
    return found


def _cell(path: Path) -> Iterator[dict[str, Any]]:
    record = json.loads(path.read_text(encoding="utf-8"))
    folder = path.parent.parent
    options = record["options"]
    about = {
        **{name: record.get(name) for name in COLUMNS if name in record},
        "adapters": "+".join(Path(adapter).name for adapter in record["adapters"]),
        "options": ", ".join(f"{key}={value}" for key, value in options.items()),
        "folder": str(folder),
    }
    for task, entry in record["tasks"].items():
        row = {
            **about,
            **{name: entry[name] for name in COLUMNS if name in entry},
            "task": task,
            "metric": entry.get("main_score"),
            "message": entry.get("error") or "; ".join(entry.get("missing_parts", [])) or None,
        }
        if entry["status"] != "done":
            yield row
            continue
        result = json.loads((folder / f"{task}.json").read_text(encoding="utf-8"))
        for split, subset, scores in _scores(result, entry):
            yield {
                **row,
                "split": split,
                "subset": subset,
                "score": scores["main_score"],
                "score_error": scores.get("main_score_error"),
            }


def _scores(
    result: Mapping[str, Any], entry: Mapping[str, Any]
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for split in entry["splits"]:
        for scores in result["scores"].get(split, []):
            if scores["hf_subset"] in entry["subsets"]:
                yield split, scores["hf_subset"], scores
