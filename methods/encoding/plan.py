"""Check what is to be encoded, and that an output folder holds nothing else."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from methods.data.texts import RowChecks, TextFiles
from methods.identity import digest_files
from methods.provenance import make_portable

log = logging.getLogger(__name__)
BadRows = Literal["error", "drop"]
DROPPED = "dropped.jsonl"
SHOWN = 3  # faults and names in a message


def check_rows(
    texts: TextFiles, folder: Path, *, shard_rows: int, bad_rows: BadRows
) -> dict[str, Any]:
    """Return how many rows there are, by shard; write which are left out.

    Raises ValueError, naming files and rows, for rows that cannot be encoded.
    """
    counts: list[int] = []
    faults: list[str] = []
    number = dropped = 0
    aside = folder / ".dropped.jsonl"
    with RowChecks() as checks, aside.open("w", encoding="utf-8") as stream:
        for row in tqdm(texts.rows(), desc="checking rows", unit="row", leave=False):
            number += 1
            if row.number % shard_rows == 0:
                counts.append(0)
            fault = checks.find_fault(row, has_ids=texts.id is not None)
            if fault is None:
                counts[-1] += 1
                continue
            dropped += 1
            if len(faults) < SHOWN:
                faults.append(f"{row.place}: {fault}")
            about = {"number": row.number, "file": row.file, "row": row.row, "fault": fault}
            stream.write(json.dumps(about, ensure_ascii=True) + "\n")
        id_type = "string" if checks.kind is str else "int64"
    if not number or dropped == number:
        raise ValueError(
            f"there is no row to encode{f' ({faults[0]})' if faults else ''}; the texts are "
            f"those of column {texts.column}"
        )
    if dropped and bad_rows == "error":
        aside.unlink()
        raise ValueError(
            f"{dropped} of {number} rows cannot be encoded ({'; '.join(faults)}); mend them, "
            f"or leave them out with bad_rows=drop. Rows are counted from 0"
        )
    if dropped:
        log.warning("%d rows are left out; dropped.jsonl says why: %s", dropped, faults[0])
        aside.replace(folder / DROPPED)
    aside.unlink(missing_ok=True)
    return {"rows": number, "dropped": dropped, "id_type": id_type, "shards_rows": counts}


def read_dropped(folder: Path) -> frozenset[int]:
    """Return the numbers of the rows that are left out."""
    file = folder / DROPPED
    if not file.is_file():
        return frozenset()
    with file.open(encoding="utf-8") as stream:
        return frozenset(json.loads(line)["number"] for line in stream)


def refuse_filled(folder: Path) -> None:
    """Raise ValueError for a folder that holds files but no manifest."""
    if others := [path.name for path in folder.iterdir() if not path.name.startswith(".")]:
        raise ValueError(
            f"out={folder} holds {', '.join(sorted(others)[:SHOWN])} and no manifest.json; give "
            f"an empty or a new folder"
        )


def describe_file(file: Path) -> dict[str, Any]:
    """Return what a manifest states of an input file."""
    return {
        "file": make_portable(str(file.resolve())),
        "bytes": file.stat().st_size,
        "sha256": digest_files(file),
    }


def refuse_other(manifest: Mapping[str, Any], about: Mapping[str, Any], folder: Path) -> None:
    """Raise ValueError, naming what differs, for a folder that holds another output."""
    advice = f"give another out=DIR, or delete {folder}"
    before, now = manifest["input"], about["input"]
    if [one["sha256"] for one in before] != [one["sha256"] for one in now]:
        known = {one["sha256"] for one in before}
        changed = [one["file"] for one in now if one["sha256"] not in known]
        names = ", ".join(changed[:SHOWN]) or f"{len(now)} files, not {len(before)} in that order"
        raise ValueError(f"{folder} holds vectors of other input: {names} differ; {advice}")
    for key, value in about.items():
        if key != "input" and manifest.get(key) != json.loads(json.dumps(value, default=str)):
            raise ValueError(
                f"{folder} was made with another {key}: "
                f"{_show_difference(manifest.get(key), value)}; {advice}"
            )


def _show_difference(before: Any, now: Any) -> str:
    """Return two values, or of two sections the first part in which they differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        now = json.loads(json.dumps(now, default=str))
        for key in dict.fromkeys([*before, *now]):
            if before.get(key) != now.get(key):
                return f"{key} {_show_difference(before.get(key), now.get(key))}"
    return f"{str(before)[:80]}, now {str(now)[:80]}"
