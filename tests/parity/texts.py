"""About a hundred real and odd texts: WordNet definitions, Wikipedia sentences, and what breaks."""

import random

from methods.data.demo import read_lee
from methods.data.wikipedia import read_wikipedia
from methods.data.wordnet import read_synsets

ODD = [
    "",
    "one",
    "Is it raining?",
    'He said "no" and left',
    "He said: 'no.'",
    "  blanks before, behind  and between ",
    "Two\nlines, a tab\tand a return\r\nhere\n",
    "Numbers like 1,234 and 5.6; names like Ångström and naïve café",
    "短い文。これは日本語です。",
    "Привет, мир! مرحبا بالعالم",
    "🙂 👩‍👩‍👧‍👦 emoji, joined and alone",
    "a_b_c %%text%% {} [] {x} [y] <s> </s>",
    "for i in range(10): print(f'{i:>3}')  # code",
    "https://example.org/a?b=c&d=%20#e",
    "Query: a text that looks like a template\nQuery again: it",
    "\u200bzero width\u00a0and\u3000wide blanks",
    "ALL CAPITALS!!! AND...DOTS",
    "x",
]


def texts() -> list[str]:
    """Return the texts, always the same."""
    drawn = random.Random(0)
    synsets = read_synsets()
    words = [synsets[key].definition for key in drawn.sample(sorted(synsets), 50)]
    sentences = [row["text"] for row in drawn.sample(read_wikipedia(), 31)]
    long = "\n".join(sorted(read_lee()[0], key=len)[-4:])  # more tokens than most methods take
    return [*ODD, *words, *sentences, long]
