"""A passage: some consecutive text of a document, with its place in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Passage:
    """A part of a document that is encoded, shown and cited as one.

    id: stable; the same while the file's name, the passage's section and its text stay the same.
    text: as it is encoded. file: relative to the folder that was read, with `/`. section: the
        headings above it, from the outermost; empty where the document has none.
    start, end: where it stands in the document's text as it was read, in characters.
    """

    id: str
    text: str
    file: str
    section: tuple[str, ...]
    start: int
    end: int
