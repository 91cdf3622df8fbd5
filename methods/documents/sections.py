"""Sections of a text: what stands under each of its headings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """What stands under a heading, up to the next one. headings: from the outermost.

    start, end: in characters of the text; the heading itself is not in it.
    """

    headings: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Text:
    """A document as it was read: its text, and the sections that passages are cut from."""

    text: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Heading:
    """A heading: level 1 is the outermost; its lines, underlines too, are [start, end)."""

    level: int
    title: str
    start: int
    end: int


def nest_sections(text: str, headings: Iterable[Heading]) -> Text:
    """Return a text with its sections, one under each heading and one before the first."""
    sections: list[Section] = []
    above: list[Heading] = []
    begins = 0
    for heading in headings:
        _append(sections, text, above, begins, heading.start)
        above = [one for one in above if one.level < heading.level] + [heading]
        begins = heading.end
    _append(sections, text, above, begins, len(text))
    return Text(text, tuple(sections))


def _append(sections: list[Section], text: str, above: list[Heading], start: int, end: int) -> None:
    if text[start:end].strip():
        titles = tuple(" ".join(heading.title.split()) for heading in above)
        sections.append(Section(tuple(title for title in titles if title), start, end))


def find_line_starts(text: str) -> list[int]:
    """Return where each line begins, lines ending in a line feed, and where the last one ends."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    starts[-1] = len(text)
    return starts
