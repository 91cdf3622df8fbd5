"""Translate old keys, which committed commands still use, into the new ones; refuse a plugin's old
attributes, which nothing would read."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

log = logging.getLogger(__name__)
KERNEL = {
    "model.kernel": "kernel.attention",
    "model.packed": "kernel.packed",
    "model.linears": "kernel.linears",
}
RENAMED = {
    "evaluate": {"tasks.mirror": "mirror", **KERNEL},
    "train": {"run.packed": "kernel.packed", "evaluate.mirror": "mirror", **KERNEL},
}
ATTRIBUTES = {"instructed": "uses_instructions"}  # of a method


def rename_overrides(words: Sequence[str], *, verb: str) -> list[str]:
    """Return KEY=VALUE overrides with every old key under its new name, logging each."""
    renamed = RENAMED.get(verb, {})
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and (new := renamed.get(key.lstrip("+"))):
            log.info("%s is now %s", key.lstrip("+"), new)
            word = f"{new}={value}"
            if new == "kernel.packed" and key == "run.packed" and _is_true(value):
                word = "kernel.packed=auto"  # what true meant there: packed where that can be
        found.append(word)
    return found


def check_attributes(method: type) -> None:
    """Raise ValueError for a method that defines an attribute under its old name."""
    for old, new in ATTRIBUTES.items():
        if hasattr(method, old):
            raise ValueError(
                f"{method.__name__}.{old} is now {new}, and nothing reads the old name; rename it"
            )


def _is_true(value: str) -> bool:
    return re.fullmatch(r"true|on|yes", value, re.IGNORECASE) is not None
