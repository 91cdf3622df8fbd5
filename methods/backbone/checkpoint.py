"""Describe a checkpoint that was fetched: its location and the fingerprint of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Checkpoint:
    """A fetched checkpoint: what transformers' `from_pretrained` takes, and its fingerprint.

    location: a folder or a Hub id. revision: of a Hub id. fingerprint: `kind:hex`, of the weights.
    files: digest of config and tokenizer for a local folder, where they can be edited apart from
        the weights.
    weights: None, or the config of weights that are drawn at random instead of loaded.
    """

    location: str
    fingerprint: str
    revision: str | None = None
    files: str | None = None
    weights: Mapping[str, Any] | None = None
