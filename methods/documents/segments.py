"""Store passages and their vectors in numbered segments, each written once and whole.

    INDEX/segment-00003.npy     unit vectors, float32 [N, D]
    INDEX/segment-00003.jsonl   their passages, a line each
    INDEX/segment-00003.json    which files they are of; written last, so a segment with it is whole

A later segment replaces what an earlier one holds of a file, and names the files that are gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from methods.documents.passage import Passage
from methods.records import open_atomically, write_atomically

WRITTEN_TO = -1  # the segment that an entry is written to


@dataclass(frozen=True)
class Entry:
    """What an index holds of one file: rows [first, first + rows) of a segment.

    state: of the file as it was read: its size, and when it was modified and changed. digest: of
    its content. segment: WRITTEN_TO before it is written. skipped: why it has no passages; None for
    a file that has some.
    """

    state: tuple[int, ...]
    digest: str
    segment: int
    first: int = 0
    rows: int = 0
    skipped: str | None = None


def read_entries(folder: Path) -> tuple[dict[str, Entry], list[int]]:
    """Return what all segments of an index hold by file, and the numbers of the segments."""
    entries: dict[str, Entry] = {}
    numbers = []
    for file in sorted(folder.glob("segment-*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        numbers.append(int(file.stem.removeprefix("segment-")))
        for name in content["removed"]:
            entries.pop(name, None)
        for name, values in content["files"].items():
            entries[name] = Entry(**{**values, "state": tuple(values["state"])})
    return entries, numbers


def place_entries(files: Mapping[str, Entry], number: int) -> dict[str, Entry]:
    """Return entries with the number of the segment that they are written to."""
    return {
        name: replace(entry, segment=number) if entry.segment == WRITTEN_TO else entry
        for name, entry in files.items()
    }


def write_segment(
    folder: Path,
    number: int,
    files: Mapping[str, Entry],
    *,
    removed: Iterable[str] = (),
    passages: Iterable[Passage] = (),
    vectors: Iterable[np.ndarray] = (),
    shape: tuple[int, int] = (0, 0),
) -> None:
    """Write a segment. vectors: blocks of rows, together of `shape`.

    Entries may be of an earlier segment's rows, where only the state of a file is another.
    """
    name = f"segment-{number:05}"
    with open_atomically(folder / f"{name}.npy") as stream:
        about = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, about)
        for block in vectors:
            stream.write(np.ascontiguousarray(block, np.float32).tobytes())
    with open_atomically(folder / f"{name}.jsonl") as stream:
        for passage in passages:
            stream.write(json.dumps(asdict(passage), ensure_ascii=False).encode() + b"\n")
    content = {
        "removed": sorted(removed),
        "files": {file: asdict(entry) for file, entry in place_entries(files, number).items()},
    }
    write_atomically(folder / f"{name}.json", json.dumps(content, ensure_ascii=False))


def open_vectors(folder: Path, number: int) -> np.ndarray:
    """Return a segment's vectors, read from disk only where they are used."""
    return np.load(folder / f"segment-{number:05}.npy", mmap_mode="r")


def read_rows(folder: Path, number: int, rows: Sequence[int]) -> Iterator[tuple[int, Passage]]:
    """Yield some passages of a segment with their rows, in the segment's order."""
    wanted, last = set(rows), max(rows, default=-1)
    with (folder / f"segment-{number:05}.jsonl").open("rb") as stream:
        for row, line in enumerate(stream):
            if row in wanted:
                values = json.loads(line)
                yield row, Passage(**{**values, "section": tuple(values["section"])})
            if row >= last:
                return


def remove_segments(folder: Path, numbers: Iterable[int]) -> None:
    """Remove segments, and what writers that were killed left behind."""
    for number in numbers:
        for suffix in ("json", "jsonl", "npy"):
            (folder / f"segment-{number:05}.{suffix}").unlink(missing_ok=True)
    for left in folder.glob(".segment-*"):
        left.unlink(missing_ok=True)
