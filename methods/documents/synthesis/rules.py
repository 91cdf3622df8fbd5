"""Pairs by rule, without a language model: title -> section, and inverse cloze (a sentence -> the
rest of its section; Lee et al. 2019, arXiv 1906.00300)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from methods.documents.passage import Passage
from methods.documents.synthesis.pairs import Pair, Reject, list_words, make_random, normalize

SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n\s*\n")
FEWEST, MOST = 6, 40  # words of a sentence that becomes a query
REST = 12  # words that are left at least
PAGE = re.compile(r"page \d+")  # what a PDF's sections end with (pdf.py): no title
LETTERS = 0.8  # of a sentence, what is letters and blanks: no code, no table


def find_titles(passage: Passage) -> tuple[str, ...]:
    """Return the headings above a passage, without a PDF's page."""
    if passage.file.lower().endswith(".pdf") and passage.section:
        return passage.section[:-1] if PAGE.fullmatch(passage.section[-1]) else passage.section
    return passage.section


def make_title_pairs(passages: Sequence[Passage]) -> tuple[list[Pair], list[Reject]]:
    """Return a pair for each section with a heading: the heading, and its first passage.

    A heading that stands above several sections (`SYNOPSIS`) names none of them and is left out.
    """
    first: dict[tuple[str, tuple[str, ...]], Passage] = {}
    for passage in passages:
        if titles := find_titles(passage):
            first.setdefault((passage.file, titles), passage)
    number = Counter(normalize(titles[-1]) for _, titles in first)
    pairs, rejects = [], []
    for (_, titles), passage in first.items():
        title, id = titles[-1].strip(), f"title/{passage.id}"
        if not (plain := normalize(title)):
            rejects.append(Reject(id, "title", "no word", title))
        elif number[plain] > 1:
            rejects.append(Reject(id, "title", "title of several sections", title))
        elif len(list_words(passage.text)) < REST:
            rejects.append(Reject(id, "title", "section too short", passage.text))
        else:
            pairs.append(Pair(id, "title", title, passage.text, passage.id))
    return pairs, rejects


def make_cloze_pairs(
    passages: Iterable[Passage], *, seed: int = 0
) -> tuple[list[Pair], list[Reject]]:
    """Return a pair for each passage that has a sentence to take out: that one, and the rest.

    The sentence is drawn by the passage's id and the seed.
    """
    pairs, rejects = [], []
    for passage in passages:
        id = f"cloze/{passage.id}"
        spans = find_sentences(passage.text)
        if not spans:
            rejects.append(Reject(id, "cloze", "no sentence to take out", passage.text))
            continue
        start, end = make_random(seed, id).choice(spans)
        rest = f"{passage.text[:start].rstrip()} {passage.text[end:].lstrip()}".strip()
        sentence = " ".join(passage.text[start:end].split())
        if normalize(sentence) in normalize(rest):
            rejects.append(Reject(id, "cloze", "sentence stands there twice", sentence))
            continue
        pairs.append(Pair(id, "cloze", sentence, rest, passage.id))
    return pairs, rejects


def find_sentences(text: str) -> list[tuple[int, int]]:
    """Return where sentences stand that can be taken out: prose, and enough is left."""
    found, total = [], len(list_words(text))
    start = 0
    for end, following in [*(match.span() for match in SENTENCE.finditer(text)), (len(text),) * 2]:
        sentence = text[start:end]
        words = len(list_words(sentence))
        if FEWEST <= words <= MOST and total - words >= REST and _is_prose(sentence):
            found.append((start, end))
        start = following
    return found


def _is_prose(sentence: str) -> bool:
    stripped = sentence.strip()
    letters = sum(char.isalpha() or char.isspace() for char in stripped)
    indented = re.search(r"\n[ \t]{2,}\S", sentence)
    return (
        stripped[-1:] in tuple(".!?。！？") and not indented and letters >= LETTERS * len(stripped)
    )
