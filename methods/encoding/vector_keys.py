"""Key cached vectors: by all that decides a cell's vectors but the row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields
from importlib.metadata import version
from typing import Any

from methods.backbone.loader import Backbone
from methods.base import Method
from methods.encoding.vectorize import pools_by_mask
from methods.identity import digest_class, digest_engine
from methods.pooling_names import identify_pooling


def make_cell_keys(backbone: Backbone, cells: Sequence[Method]) -> list[bytes]:
    """Return a key of 16 bytes for each cell: all that decides its vectors but the row.

    steering is None until a method changes states within the pass; it is in the key already
    because keys outlive code. How the model runs is included: in half precision another kernel
    changes scores, and turning one off to see its effect must not return its cached vectors.
    Which of several cards it runs on is not.
    """
    how, attends = backbone.choices, cells[0].attention
    layout = backbone.packed_layout if attends in backbone.packed else None
    device = how["device"].partition(":")[0]
    shared = {
        "backbone": backbone.identity,
        "attention": attends,
        "run": [device, how["kernel"], how["linears"], layout],
        "steering": None,
        "code": digest_engine(),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }
    described = [{**shared, "layer": c.layer, "pool": identify_pool(c)} for c in cells]
    texts = [json.dumps(d, sort_keys=True, default=str).encode() for d in described]
    return [hashlib.blake2b(text, digest_size=16).digest() for text in texts]


def identify_pool(cell: Method) -> Any:
    """Return what decides how a cell pools: the pooling's name, or the method's code and fields."""
    if pools_by_mask(type(cell)):
        return identify_pooling(cell.pooling)
    values = {f.name: getattr(cell, f.name) for f in fields(cell) if f.name != "normalize"}
    values["pooling"] = identify_pooling(cell.pooling)
    return [digest_class(type(cell)), values]
