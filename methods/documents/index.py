"""Open an index: a folder of documents as passages with their vectors (build.py makes it).

    index = build_index("docs", "docs-index", encoder=load_encoder("sentence_encoder"))
    index = open_index("docs-index", encoder=...)

    INDEX/index.json      the documents, the encoder, how passages are cut, and the threshold
    INDEX/segment-*       passages and vectors (segments.py)

A build encodes what is new or changed and nothing else, and one that was stopped resumes.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from methods.documents.files import Skipped
from methods.documents.passage import Passage
from methods.documents.relevance import Relevance, measure_relevance
from methods.documents.segments import Entry, open_vectors, read_entries, read_rows
from methods.documents.vectors import describe_encoder
from methods.identity import digest
from methods.records import write_atomically

if TYPE_CHECKING:
    from methods.encoding.encoder import Encoder

log = logging.getLogger(__name__)
BLOCK_ROWS = 16_384  # of vectors that are in memory at once


@dataclass
class Changes:
    """What a build found: how many files are new, changed, removed and as they were."""

    new: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    encoded: int = 0
    passages: int = 0


@dataclass
class Index:
    """Passages and vectors of documents, searched by `search`.

    about: what decides passages and vectors. entries: what it holds by file. skipped: files that
    have no passages, with the reason. hidden, unknown: files that were not looked at.
    """

    folder: Path
    encoder: Encoder
    about: Mapping[str, Any]
    entries: dict[str, Entry] = field(default_factory=dict)
    relevance: Relevance | None = None
    skipped: list[Skipped] = field(default_factory=list)
    hidden: int = 0
    unknown: Mapping[str, int] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)
    approximate: Any = None  # the inverted file that is open (approximate.py)

    def __len__(self) -> int:
        """Return the number of passages."""
        return sum(entry.rows for entry in self.entries.values())

    def list_files(self) -> list[str]:
        """Return the files that have passages."""
        return sorted(file for file, entry in self.entries.items() if entry.rows)

    def iterate_blocks(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield segment number, rows [N] and vectors [N, D], some at a time, all that is live."""
        spans: dict[int, list[tuple[int, int]]] = {}
        for entry in self.entries.values():
            if entry.rows:
                spans.setdefault(entry.segment, []).append((entry.first, entry.rows))
        for number in sorted(spans):
            vectors_ND = open_vectors(self.folder, number)
            live = np.zeros(len(vectors_ND), bool)
            for first, rows in spans[number]:
                live[first : first + rows] = True
            for start in range(0, len(vectors_ND), BLOCK_ROWS):
                rows = start + np.flatnonzero(live[start : start + BLOCK_ROWS])
                if len(rows):
                    yield number, rows, vectors_ND[rows]

    def fetch(self, places: list[tuple[int, int]]) -> list[Passage]:
        """Return the passages at (segment, row), in the order asked for."""
        found: dict[tuple[int, int], Passage] = {}
        for number in {number for number, _ in places}:
            rows = [row for segment, row in places if segment == number]
            for row, passage in read_rows(self.folder, number, rows):
                found[number, row] = passage
        return [found[place] for place in places]

    def list_places(self) -> list[tuple[int, int]]:
        """Return (segment, row) of every passage, in the order of files."""
        return [
            (entry.segment, entry.first + row)
            for _, entry in sorted(self.entries.items())
            for row in range(entry.rows)
        ]


def open_index(folder: str | os.PathLike[str], *, encoder: Encoder) -> Index:
    """Open an index as it is, without reading the documents or encoding anything.

    Raises ValueError for a folder that is none, and for one that another encoder made.
    """
    place = Path(folder).expanduser()
    about, relevance = read_about(place)
    if not about:
        raise ValueError(f"{place} holds no index; build_index makes one, as dec2vec ask does")
    refuse_other(place, about, {**about, "encoder": describe_encoder(encoder)})
    entries, _ = read_entries(place)
    index = Index(place, encoder, about, entries, relevance)
    index.skipped = [Skipped(name, e.skipped) for name, e in sorted(entries.items()) if e.skipped]
    return index


def read_about(folder: Path) -> tuple[dict[str, Any], Relevance | None]:
    """Return what an index states of itself and its threshold; nothing where there is none."""
    file = folder / "index.json"
    if not file.is_file():
        return {}, None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        relevance = content.pop("relevance")
    except (ValueError, KeyError) as error:
        raise ValueError(f"{file} is no index's: {error}; remove the folder") from error
    return content, None if relevance is None else Relevance(**relevance)


def write_about(index: Index) -> None:
    """Write what an index states of itself."""
    relevance = None if index.relevance is None else asdict(index.relevance)
    content = {**index.about, "relevance": relevance}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(index.folder / "index.json", text)


def refuse_other(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise ValueError, naming what differs, for an index made with anything else."""
    differs = [key for key in wanted if found.get(key) != wanted[key]]
    if not differs:
        return
    key = differs[0]
    was, now = found.get(key), wanted[key]
    if key == "encoder":
        was, now = (_name_encoder(one) for one in (was, now))
    raise ValueError(
        f"the index {folder} was made with {key}={was}, not {key}={now}; build it anew "
        f"(rebuild, on the command line --rebuild), or give another index"
    )


def _name_encoder(described: Any) -> str:
    """Return an encoder's name for a message, with its digest."""
    if not isinstance(described, Mapping):
        return str(described)
    return f"{described['method']} on {described['model']} ({described['digest']})"


def update_relevance(index: Index) -> None:
    """Measure the threshold anew where the passages have changed since it was."""
    state = digest(sorted((name, e.digest) for name, e in index.entries.items() if e.rows), 16)
    if len(index) and (index.relevance is None or index.relevance.state != state):
        index.relevance = measure_relevance(index, state=state)
        write_about(index)
