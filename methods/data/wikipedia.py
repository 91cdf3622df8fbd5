"""Sentences of a shortened English Wikipedia dump (CC BY-SA 3.0), from PyPI's `gensim`."""

from __future__ import annotations

import bz2
import random
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from methods.data.wheels import WHEELS, wheel_files

SEED = 42


def wikipedia() -> list[dict[str, str]]:
    """Sentences of Wikipedia articles, markup removed, one a row."""
    return [{"text": text} for article in _articles() for text in article]


def neighbours() -> list[dict[str, str]]:
    """Sentences that follow each other in an article: the second is the first's positive."""
    rows = [
        {"query": first, "positive": second}
        for article in _articles()
        for first, second in zip(article[::2], article[1::2], strict=False)
    ]
    random.Random(SEED).shuffle(rows)
    return rows


def _articles() -> Iterator[list[str]]:
    file = wheel_files(**WHEELS["lee"])[-1]
    with bz2.open(file) as dump:
        for _, element in ElementTree.iterparse(dump):
            if element.tag.endswith("}text") and element.text:
                sentences = list(_sentences(element.text))
                if sentences:
                    yield sentences
            if element.tag.endswith("}page"):
                element.clear()


def _sentences(markup: str) -> Iterator[str]:
    """Sentences of eight to sixty words of an article's running text."""
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
