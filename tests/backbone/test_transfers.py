"""What passes between host and card within a forward pass does not grow with layers or rows.

The meta device plays the card. A tensor on it has no contents, so whatever would wait for the card
(`.item()`, `if tensor`, `.cpu()`, a boolean index) raises; copies to it are counted.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from methods.backbone import forward as engine
from methods.backbone.loader import Backbone
from methods.backbone.tiny import make_byte_tokenizer
from methods.base import Inputs
from methods.encoding import batch_pooling
from methods.encoding.batch_pooling import BatchPooling
from methods.sgpt import SGPT
from tests.backbone.architectures import SMALL

OURS = str(Path(engine.__file__).parents[1])


class Copies(TorchDispatchMode):
    """Count the operations that take tensors of the host and return one on the card."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        given, made = (
            {one.device.type for one in tree_iter(values) if isinstance(one, torch.Tensor)}
            for values in ((args, kwargs), found)
        )
        self.number += "cpu" in given and "meta" in made
        return found


@dataclass(frozen=True, kw_only=True)
class Own(SGPT):
    """A pooling of its own, which is handed padded states."""

    def pool(self, hidden_BLD, inputs):
        return super().pool(hidden_BLD, inputs) + 0


def make_backbone(layers, layout):
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model("llama", **SMALL | {"num_hidden_layers": layers})
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    both = frozenset({"causal", "bidirectional"})
    return Backbone(
        model=model.eval().requires_grad_(False),
        tokenizer=make_byte_tokenizer(),
        identity={"name": "x/y", "dtype": "bfloat16"},
        choices={},
        num_layers=layers,
        max_positions=None,
        batch_tokens=10**6,
        attentions=both,
        packed=frozenset() if layout == "rows" else both,
        packed_layout="padded" if layout == "rows" else layout,
    )


def run(layers, layout, attention, *, prefix=0, copies=1, cells=None, monkeypatch):
    """Copies to the card in a pass over all layers, and calls of our own functions in it."""
    lengths = [9, 9, 7, 5, 4, 2]
    rows = [
        [3] * prefix + [4 + k % 200] + [5] * (n - 1) for n in lengths for k in range(1, copies + 1)
    ]
    inputs, calls = Inputs(rows, [[True] * len(row) for row in rows]), []
    plain = engine.run_layers

    def count(*arguments, **what):
        calls.append(0)

        def note(frame, event, _what):
            calls[-1] += event == "call" and OURS in frame.f_code.co_filename

        sys.setprofile(note)
        try:
            plain(*arguments, **what)
        finally:
            sys.setprofile(None)

    every = [*range(layers), -1]
    cells = [replace(cell, layer=layer) for layer in every for cell in cells or [SGPT()]]
    with monkeypatch.context() as patched, Copies() as found:
        patched.setattr(batch_pooling.HostCopy, "begin", list)
        if layout == "rows":  # transformers asks once a pass whether there is padding
            patched.setattr(torch.Tensor, "__bool__", lambda _: False)
        patched.setattr(engine, "run_layers", count)
        passes = engine.forward(
            make_backbone(layers, layout),
            inputs,
            attention=attention,
            layers=every,
            make_reader=lambda batch: BatchPooling(cells, None, inputs.rows(batch)),
        )
        assert sum(len(batch) for batch, _ in passes) == len(rows)
    return found.number, calls[-1]


CASES = [
    ("varlen", "causal", 0),
    ("varlen", "causal", 20),
    ("varlen", "bidirectional", 0),
    ("padded", "causal", 0),
    ("padded", "causal", 20),
    ("padded", "bidirectional", 0),
    ("rows", "causal", 0),
    ("rows", "bidirectional", 0),
]


@pytest.mark.parametrize("cell", [SGPT(pooling="mean"), SGPT(pooling="last"), Own()])
@pytest.mark.parametrize(("layout", "attention", "prefix"), CASES)
def test_nothing_waits_for_the_card_and_no_layer_copies_to_it(
    layout, attention, prefix, cell, monkeypatch
):
    cells = [cell]
    few, many = (
        run(layers, layout, attention, prefix=prefix, cells=cells, monkeypatch=monkeypatch)[0]
        for layers in (2, 6)
    )
    assert few == many <= 20


@pytest.mark.parametrize(("layout", "attention", "prefix"), CASES)
def test_a_layer_makes_as_many_calls_whatever_the_number_of_rows(
    layout, attention, prefix, monkeypatch
):
    cells = [SGPT(pooling="mean")]
    few, many = (
        run(2, layout, attention, prefix=prefix, copies=n, cells=cells, monkeypatch=monkeypatch)[1]
        for n in (2, 20)
    )
    assert abs(few - many) <= 1 < few  # a process's first pass finds out what torch has
