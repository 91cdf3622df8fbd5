"""A pair: a query, the text that answers it, and what it was made from."""

from __future__ import annotations

import hashlib
import random
import re
import unicodedata
from dataclasses import dataclass

# A word; in scripts that write no blanks between words, a character.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True)
class Pair:
    """A training or evaluation pair.

    id: stable, of what it was made from. kind: title, cloze, question, or a group of the E5 recipe.
    prompt: of a question, which prompt wrote it. document: the id of the passage that it was made
        from; of a pair from nothing its own. instruction: the task's sentence, where the generator
        made one up.
    """

    id: str
    kind: str
    query: str
    positive: str
    document: str
    prompt: str = ""
    negatives: tuple[str, ...] = ()
    instruction: str = ""


@dataclass(frozen=True)
class Reject:
    """What became no pair, and why. group: the prompt or the group that its yield is counted by."""

    id: str
    group: str
    reason: str
    text: str


def list_words(text: str) -> list[str]:
    """Return the words of a text in lower case, in order."""
    return WORD.findall(unicodedata.normalize("NFKC", text).lower())


def normalize(text: str) -> str:
    """Return a text by its words alone, by which duplicates and copies are found."""
    return " ".join(list_words(text))


def make_seed(*parts: object) -> int:
    """Return a seed that follows from its parts alone, the same in every run."""
    whole = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(whole.encode()).digest()[:8], "big") >> 1


def make_random(*parts: object) -> random.Random:
    """Return a random generator whose seed follows from the parts alone."""
    return random.Random(make_seed(*parts))
