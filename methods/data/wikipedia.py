"""Read sentences of a shortened English Wikipedia dump (CC BY-SA 3.0) from PyPI's `gensim`."""

from __future__ import annotations

import bz2
import random
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from methods.data.wheels import WHEELS, fetch_wheel_files

SEED = 42


def read_wikipedia() -> list[dict[str, str]]:
    """Return sentences of Wikipedia articles, markup removed, one a row."""
    return [{"text": text} for article in _read_articles() for text in article]


def pair_neighbours() -> list[dict[str, str]]:
    """Return sentences that follow each other in an article; the second is the positive."""
    rows = [
        {"query": first, "positive": second}
        for article in _read_articles()
        for first, second in zip(article[::2], article[1::2], strict=False)
    ]
    random.Random(SEED).shuffle(rows)
    return rows


def _read_articles() -> Iterator[list[str]]:
    file = fetch_wheel_files(**WHEELS["lee"])[-1]
    with bz2.open(file) as dump:
        for _, element in ElementTree.iterparse(dump):
            if element.tag.endswith("}text") and element.text:
                sentences = list(_split_sentences(element.text))
                if sentences:
                    yield sentences
            if element.tag.endswith("}page"):
                element.clear()


def _split_sentences(markup: str) -> Iterator[str]:
    """Yield sentences of eight to sixty words of an article's running text."""
    text = re.sub(r"<!--.*?-->|<ref[^>/]*/>|<ref.*?</ref>|<math.*?</math>", "", markup, flags=re.S)
    while text != (text := re.sub(r"\{\{[^{}]*\}\}|\{\|[^{}]*?\|\}", "", text)):
        pass
    text = re.sub(
        r"\[\[(?:File|Image|Category|[a-z-]{2,12}):[^\[\]]*(?:\[\[[^\[\]]*\]\][^\[\]]*)*\]\]",
        "",
        text,
    )
    text = re.sub(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]", r"\1", text)
    text = re.sub(r"\[https?://\S+\s?([^\]]*)\]", r"\1", text)
    text = re.sub(r"<[^>]+>|'{2,}|&\w+;", "", text)
    for line in text.splitlines():
        if line and line[0] not in "=*#:;|!{}<" and "{{" not in line and "}}" not in line:
            for sentence in re.split(r"(?<=[.?!])\s+(?=[A-Z])", line.strip()):
                if 8 <= len(sentence.split()) <= 60 and sentence[-1] in ".?!":
                    yield sentence
