"""Split documents into those that are trained on and those whose questions are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from methods.documents.passage import Passage
from methods.documents.synthesis.pairs import make_random, make_seed


@dataclass(frozen=True)
class Split:
    """Passages of two sides, each in the order of the documents; no passage is on both.

    by: whole documents, contiguous sections of each, or nothing (all are held out).
    """

    training: tuple[Passage, ...]
    heldout: tuple[Passage, ...]
    by: Literal["documents", "sections", "nothing"]

    def list_files(self) -> dict[str, list[str]]:
        """Return the files that have passages of each side."""
        sides = {"training": self.training, "heldout": self.heldout}
        return {name: list(dict.fromkeys(p.file for p in side)) for name, side in sides.items()}


def split_passages(
    passages: Sequence[Passage], *, heldout: float, min_files: int = 10, seed: int = 0
) -> Split:
    """Split passages by their documents: a share `heldout` of these, drawn by the seed.

    With fewer than `min_files` documents, contiguous sections (of a PDF: pages) of each are held
    out instead. heldout=1: all. Raises ValueError where nothing can be held out.
    """
    if heldout == 1:
        return Split((), tuple(passages), "nothing")
    files = list(dict.fromkeys(passage.file for passage in passages))
    if len(files) >= max(min_files, 2):
        drawn = sorted(files, key=lambda file: make_seed(seed, "split", file))
        number = min(max(round(heldout * len(files)), 1), len(files) - 1)
        held = {passage.id for passage in passages if passage.file in set(drawn[:number])}
        return _divide(passages, held, "documents")
    held = set()
    for file in files:
        own = [passage for passage in passages if passage.file == file]
        held |= _draw_sections(own, heldout, seed)
    if not held or len(held) == len(passages):
        raise ValueError(
            f"{len(files)} document{'s' if len(files) > 1 else ''} without sections of which some "
            f"can be held out; give more documents, smaller passages (documents.max_tokens), or "
            f"documents.heldout=1 documents.cloze_from=all"
        )
    return _divide(passages, held, "sections")


def _draw_sections(passages: Sequence[Passage], heldout: float, seed: int) -> set[str]:
    """Return the ids of contiguous sections of a document, of about the wanted share."""
    sections = [[p.id for p in part] for _, part in groupby(passages, key=lambda p: p.section)]
    if len(sections) == 1:  # a text without headings, or one page: passage by passage
        sections = [[passage.id] for passage in passages]
    if len(sections) < 2:
        return set()
    number = min(max(round(heldout * len(sections)), 1), len(sections) - 1)
    random = make_random(seed, "split", passages[0].file)
    start = random.randrange(len(sections) - number + 1)
    return {id for part in sections[start : start + number] for id in part}


def _divide(
    passages: Sequence[Passage], held: set[str], by: Literal["documents", "sections"]
) -> Split:
    training = tuple(passage for passage in passages if passage.id not in held)
    return Split(training, tuple(passage for passage in passages if passage.id in held), by)
