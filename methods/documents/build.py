"""Build an index, or bring it up to date with its documents."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from methods.documents.files import MAX_BYTES, Skipped, find_documents
from methods.documents.index import (
    Index,
    read_about,
    refuse_other,
    update_relevance,
    write_about,
)
from methods.documents.merging import merge_segments
from methods.documents.passage import Passage
from methods.documents.reading import MAX_TOKENS, make_cutter, read_document
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
from methods.documents.vectors import describe_encoder, encode_passages
from methods.identity import digest_files

if TYPE_CHECKING:
    from methods.encoding.encoder import Encoder

ENCODED_ROWS = 512  # at once, sorted by length
SEGMENT_ROWS = 2048  # what a build that is stopped may lose; a file is in one segment


def build_index(
    docs: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    encoder: Encoder,
    max_tokens: int = MAX_TOKENS,
    include: str | None = None,
    max_bytes: int = MAX_BYTES,
    rebuild: bool = False,
) -> Index:
    """Build the index of a folder of documents (or of one) in `folder`, or bring it up to date.

    Files that are as they were are not read; of a changed one, the passages that are new are
    encoded. include: a pattern of file names. rebuild: discard what another encoder made.
    `index.changes` says what was done, `index.skipped` what could not be read.
    Raises ValueError for documents without a passage, and for an index of something else.
    """
    docs, place = Path(docs).expanduser(), Path(folder).expanduser()
    _check_length(encoder, max_tokens)
    found = find_documents(docs, include=include, max_bytes=max_bytes)
    about = {
        "schema": 1,
        "documents": str(docs.resolve()),
        "encoder": describe_encoder(encoder),
        "max_tokens": max_tokens,
        "include": include,
    }
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):
        index = _open(place, encoder, about, rebuild)
        index.hidden, index.unknown = found.hidden, dict(found.unknown)
        builder = _Builder(index, make_cutter(max_tokens, encoder.backbone.tokenizer))
        builder.update(found.files)
        noted = [Skipped(n, e.skipped) for n, e in sorted(index.entries.items()) if e.skipped]
        index.skipped = sorted([*found.skipped, *noted], key=lambda one: one.file)
        if not len(index):
            raise ValueError(_describe_nothing(docs, index, found.left_out))
        merge_segments(index, segment_rows=SEGMENT_ROWS)
        update_relevance(index)
    return index


def _check_length(encoder: Encoder, max_tokens: int) -> None:
    longest = getattr(encoder.method, "max_length", None)
    if longest is not None and max_tokens > longest:
        raise ValueError(
            f"max_tokens={max_tokens}, and {type(encoder.method).__name__} reads "
            f"{longest} tokens of a text; give max_tokens below that, or a larger max_length"
        )


def _open(place: Path, encoder: Encoder, about: Mapping[str, Any], rebuild: bool) -> Index:
    """Return the index in a folder as it is, or an empty one."""
    stated, relevance = read_about(place)
    others = [path.name for path in place.iterdir() if not path.name.startswith(".")]
    if not stated and others:
        raise ValueError(f"{place} holds other files ({others[0]}); give an empty or a new folder")
    if stated and rebuild:
        (place / "index.json").unlink()
        remove_segments(place, read_entries(place)[1])
        stated, relevance = {}, None
    index = Index(place, encoder, about, relevance=relevance)
    if stated:
        refuse_other(place, stated, about)
        index.entries = read_entries(place)[0]
    else:
        write_about(index)
    return index


def _describe_nothing(docs: Path, index: Index, left_out: int) -> str:
    """Return the message for documents without a passage."""
    parts = [f"{one.file}: {one.reason}" for one in index.skipped[:5]]
    if len(index.skipped) > 5:
        parts.append(f"{len(index.skipped) - 5} more are skipped")
    if index.unknown:
        parts.append(f"files of other suffixes: {', '.join(sorted(index.unknown)[:8])}")
    if left_out:
        parts.append(f"{left_out} files do not match include={index.about['include']}")
    if index.hidden:
        parts.append(f"{index.hidden} are hidden")
    return f"{docs} holds no document with a passage ({'; '.join(parts) or 'it is empty'})"


@dataclass
class _Builder:
    """Brings an index up to date. The rest is what the next segment will hold."""

    index: Index
    cut: Any
    files: dict[str, Entry] = field(default_factory=dict)
    passages: list[Passage] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)  # of some of the passages
    removed: list[str] = field(default_factory=list)

    def update(self, files: Mapping[str, Path]) -> None:
        """Read and encode what is new or changed, and forget what is gone."""
        index, changes = self.index, self.index.changes
        states = {name: _read_state(path) for name, path in files.items()}
        self.removed = sorted(index.entries.keys() - files.keys())
        changes.removed = len(self.removed)
        for name in self.removed:
            del index.entries[name]
        todo = [n for n in files if n not in index.entries or index.entries[n].state != states[n]]
        total = sum(states[name][0] for name in todo)
        with tqdm(total=total, unit="B", unit_scale=True, desc="index", delay=3) as bar:
            for name in todo:
                self._read(name, files[name], states[name])
                bar.update(states[name][0])
                if len(self.passages) >= SEGMENT_ROWS:
                    self._write()
        changes.unchanged = len(files) - changes.new - changes.changed
        if self.files or self.removed:
            self._write()

    def _read(self, name: str, path: Path, state: tuple[int, ...]) -> None:
        """Take in a file, unless its content is what it was."""
        index, changes = self.index, self.index.changes
        old = index.entries.get(name)
        try:
            content = digest_files(path)
        except OSError as error:
            content, old = f"unread: {error.strerror}", None
        if old is not None and old.digest == content:
            self.files[name] = replace(old, state=state)
            return
        changes.new += name not in index.entries
        changes.changed += name in index.entries
        try:
            passages = read_document(path, name, self.cut)
        except ValueError as error:
            self.files[name] = Entry(state, content, WRITTEN_TO, skipped=str(error))
            return
        self.files[name] = Entry(state, content, WRITTEN_TO, len(self.passages), len(passages))
        vectors = self._encode(passages, old)
        self.passages += passages
        self.vectors.append(vectors)

    def _encode(self, passages: list[Passage], old: Entry | None) -> np.ndarray:
        """Return the vectors of a file's passages; those it had before are not encoded again."""
        known: dict[str, np.ndarray] = {}
        if old is not None and old.rows:
            stored_ND = open_vectors(self.index.folder, old.segment)
            rows = range(old.first, old.first + old.rows)
            for row, passage in read_rows(self.index.folder, old.segment, rows):
                known[passage.id] = np.array(stored_ND[row])
        new = [passage for passage in passages if passage.id not in known]
        for start in range(0, len(new), ENCODED_ROWS):
            part = new[start : start + ENCODED_ROWS]
            vectors = encode_passages(self.index.encoder, part)
            known |= dict(zip((passage.id for passage in part), vectors, strict=True))
        self.index.changes.encoded += len(new)
        self.index.changes.passages += len(passages)
        return np.stack([known[passage.id] for passage in passages])

    def _write(self) -> None:
        """Write what has been gathered as the next segment."""
        folder = self.index.folder
        number = max(read_entries(folder)[1], default=-1) + 1
        size = self.vectors[0].shape[1] if self.vectors else 0
        write_segment(
            *(folder, number, self.files),
            removed=self.removed,
            passages=self.passages,
            vectors=self.vectors,
            shape=(len(self.passages), size),
        )
        self.index.entries |= place_entries(self.files, number)
        self.files, self.passages, self.vectors, self.removed = {}, [], [], []


def _read_state(path: Path) -> tuple[int, ...]:
    """Return what changes when a file does: its size, and when it was modified and changed."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
