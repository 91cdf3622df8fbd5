"""Key cached vectors: by all that decides a cell's vectors but the row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields
from importlib.metadata import version
from typing import Any

from methods.backbone.loader import Backbone
from methods.base import Inputs, Method
from methods.encoding.vectorize import pools_by_mask
from methods.identity import digest_class, digest_engine, make_row_key
from methods.pooling_names import identify_pooling


def make_cell_keys(backbone: Backbone, cells: Sequence[Method]) -> list[bytes]:
    """Return a key of 16 bytes for each cell: all that decides its vectors but the row.

    steering: the code and the fields of a method that changes states within the pass. How the
    model runs is included: in half precision another kernel changes scores, and turning one off to
    see its effect must not return its cached vectors. Which of several cards it runs on is not.
    """
    how, attends = backbone.choices, cells[0].attention
    layout = backbone.packed_layout if attends in backbone.packed else None
    device = how["device"].partition(":")[0]
    shared = {
        "backbone": backbone.identity,
        "attention": attends,
        "run": [device, how["kernel"], how["linears"], layout],
        "steering": identify_steering(cells[0]),
        "code": digest_engine(),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }
    described = [{**shared, "layer": c.layer, "pool": identify_pool(c)} for c in cells]
    texts = [json.dumps(d, sort_keys=True, default=str).encode() for d in described]
    return [hashlib.blake2b(text, digest_size=16).digest() for text in texts]


def make_row_keys(inputs: Inputs, cell: Method) -> list[bytes]:
    """Return a key of 16 bytes for each row: all that decides its vectors but the cell.

    Where states are changed within the pass, that is every row of its text, and what is marked.
    """
    keys = [make_row_key(*row) for row in zip(inputs.ids, inputs.pool_mask, strict=True)]
    if not cell.sites:
        return keys
    each, found = cell.rows_per_text, []
    for row in range(len(keys)):
        first = row - row % each
        text = b"".join(keys[first : first + each])
        marks = {name: at[first : first + each] for name, at in inputs.marks.items()}
        about = json.dumps([row % each, marks], sort_keys=True).encode()
        found.append(hashlib.blake2b(text + about, digest_size=16).digest())
    return found


def identify_steering(cell: Method) -> Any:
    """Return what decides how a method changes states: its code and fields, None if it does not."""
    if not cell.sites:
        return None
    axes = ("pooling", "layer", "normalize")
    values = {f.name: getattr(cell, f.name) for f in fields(cell) if f.name not in axes}
    return [digest_class(type(cell)), values]


def identify_pool(cell: Method) -> Any:
    """Return what decides how a cell pools: the pooling's name, or the method's code and fields."""
    if pools_by_mask(type(cell)):
        return identify_pooling(cell.pooling)
    values = {f.name: getattr(cell, f.name) for f in fields(cell) if f.name != "normalize"}
    values["pooling"] = identify_pooling(cell.pooling)
    return [digest_class(type(cell)), values]
