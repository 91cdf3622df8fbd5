"""Merge the segments of an index, so that it holds little of what its documents no longer have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from methods.documents.index import Index
from methods.documents.passage import Passage
from methods.documents.segments import (
    WRITTEN_TO,
    Entry,
    open_vectors,
    place_entries,
    read_entries,
    read_rows,
    remove_segments,
    write_segment,
)

MERGED_ROWS = 65_536  # of a segment that others are merged into


def merge_segments(index: Index, *, segment_rows: int) -> None:
    """Merge segments where most rows are of files that have changed, or where they are many.

    segment_rows: how many a build writes at once. Needs the index's lock.
    """
    folder = index.folder
    numbers = read_entries(folder)[1]
    stored = sum(len(open_vectors(folder, number)) for number in numbers)
    if stored <= 2 * len(index) and len(numbers) <= 32 + 2 * len(index) // segment_rows:
        return
    number = numbers[-1] + 1
    for part in _divide(index.entries):
        entries, rows = {}, 0
        for name, entry in part.items():
            entries[name] = replace(entry, segment=WRITTEN_TO, first=rows)
            rows += entry.rows
        size = next(index.iterate_blocks())[2].shape[1]
        write_segment(
            *(folder, number, entries),
            passages=_iterate_passages(folder, part.values()),
            vectors=_iterate_vectors(folder, part.values()),
            shape=(rows, size),
        )
        index.entries |= place_entries(entries, number)
        number += 1
    remove_segments(folder, numbers)


def _divide(entries: Mapping[str, Entry]) -> Iterator[dict[str, Entry]]:
    """Yield all files of an index in parts of MERGED_ROWS, as they are stored."""
    part: dict[str, Entry] = {}
    rows = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].segment, item[1].first)):
        if part and rows + entry.rows > MERGED_ROWS:
            yield part
            part, rows = {}, 0
        part[name] = entry
        rows += entry.rows
    if part:
        yield part


def _iterate_passages(folder: Path, entries: Iterable[Entry]) -> Iterator[Passage]:
    for entry in entries:
        if entry.rows:
            rows = range(entry.first, entry.first + entry.rows)
            yield from (passage for _, passage in read_rows(folder, entry.segment, rows))


def _iterate_vectors(folder: Path, entries: Iterable[Entry]) -> Iterator[np.ndarray]:
    for entry in entries:
        if entry.rows:
            yield open_vectors(folder, entry.segment)[entry.first : entry.first + entry.rows]
