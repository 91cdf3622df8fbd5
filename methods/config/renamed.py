"""Old spellings of keys, which committed commands and scripts still use: read as the new ones."""

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


def with_new_names(words: Sequence[str], *, verb: str) -> list[str]:
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


def _is_true(value: str) -> bool:
    return re.fullmatch(r"true|on|yes", value, re.IGNORECASE) is not None
