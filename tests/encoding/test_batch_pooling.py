"""Pooling where the states lie equals pooling of padded states, in bounded memory."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from methods.backbone.forward import forward
from methods.backbone.states import BatchStates
from methods.backbone.trained_pooling import TrainedPooling, TrainedPoolingSpec
from methods.base import Inputs, pool_inputs
from methods.encoding import batch_pooling
from methods.encoding.batch_pooling import BY_WEIGHTS, BatchPooling
from methods.encoding.vectorize import pool_rows
from methods.pooling_names import list_built_in
from methods.sgpt import SGPT

LENGTHS = [12, 9, 9, 5, 3, 3, 1]


def make_rows(*, prefix=0):
    draw = np.random.default_rng(0)
    masks = [(draw.random(n + prefix) < 0.6).tolist() for n in LENGTHS]
    masks = [[*mask[:-1], True] if not any(mask) else mask for mask in masks]
    masks[1] = [True, *[False] * (len(masks[1]) - 1)]  # with a prefix: pooled in it alone
    return Inputs([[5] * len(mask) for mask in masks], masks)


def make_states(*, prefix=0, gap=0, dtype=torch.float32):
    """States of rows with `gap` positions of nan between them, and the same padded with nan."""
    draw = torch.Generator().manual_seed(0)
    before = torch.randn(prefix, 16, generator=draw, dtype=dtype) if prefix else None
    own = [torch.randn(n, 16, generator=draw, dtype=dtype) for n in LENGTHS]
    hole = torch.full((gap, 16), torch.nan, dtype=dtype)
    starts = np.cumsum([0, *(n + gap for n in LENGTHS[:-1])])
    padded = torch.full((len(own), max(LENGTHS) + prefix, 16), torch.nan, dtype=dtype)
    for row, part in zip(padded, own, strict=True):
        row[:prefix] = before if prefix else row[:0]
        row[prefix : prefix + len(part)] = part
    flat = torch.cat([part for one in own for part in (one, hole)])
    return BatchStates(flat, starts, np.array(LENGTHS) + prefix, before), padded


@pytest.mark.parametrize("cells", [1, 20, 4096])
@pytest.mark.parametrize("prefix", [0, 4])
@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pooling", BY_WEIGHTS)
def test_pooling_is_that_of_padded_states(pooling, dtype, gap, prefix, cells, monkeypatch):
    monkeypatch.setattr(batch_pooling, "CELLS", cells)
    inputs = make_rows(prefix=prefix)
    states, padded = make_states(prefix=prefix, gap=gap, dtype=dtype)
    expected = pool_inputs(padded, inputs, pooling)
    reader = BatchPooling([SGPT(pooling=pooling)], None, inputs)
    reader.read(-1, states)
    (found,) = reader.finish().wait()
    assert found.dtype == np.float32
    if pooling == "last":
        assert np.array_equal(found, expected.numpy())
    assert np.allclose(found, expected, atol=1e-6)


def test_what_is_computed_where_the_states_lie_is_a_built_in_pooling():
    assert set(BY_WEIGHTS) <= set(list_built_in())  # others are given padded states


@dataclass(frozen=True, kw_only=True)
class Largest(SGPT):
    """A pooling of its own, which sees padding as zeros."""

    def pool(self, hidden_BLD, inputs):
        self.seen.append(tuple(hidden_BLD.shape))
        assert hidden_BLD.dtype == torch.float32
        mask = inputs.mask(hidden_BLD.shape[1], hidden_BLD.device)
        return hidden_BLD.masked_fill(~mask[..., None], -torch.inf).amax(1)

    seen = []  # noqa: RUF012


@pytest.mark.parametrize("prefix", [0, 4])
def test_a_pool_of_ones_own_is_handed_padded_rows_within_a_bound(prefix, monkeypatch):
    monkeypatch.setattr(batch_pooling, "CELLS", 20)
    Largest.seen.clear()
    inputs = make_rows(prefix=prefix)
    states, padded = make_states(prefix=prefix)
    reader = BatchPooling([Largest()], None, inputs)
    reader.read(-1, states)
    (found,) = reader.finish().wait()
    assert all(B == 1 or B * L <= 20 for B, L, _ in Largest.seen)
    assert sum(B for B, _, _ in Largest.seen) == len(LENGTHS)
    assert torch.equal(torch.from_numpy(found), Largest().pool(padded, inputs))


def test_padding_is_zeros_whatever_lies_between_the_rows():
    states, padded = make_states(prefix=4, gap=3)
    assert torch.equal(states.pad(), padded.nan_to_num(0.0))
    assert torch.equal(states.pad(1, 3), padded[1:3, :13])


@pytest.mark.parametrize("kind", ["latent_attention", "multi_layer"])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_trained_pooling_is_applied_to_some_rows_at_a_time(kind, pooling, monkeypatch):
    monkeypatch.setattr(batch_pooling, "CELLS", 20)
    torch.manual_seed(0)
    sizes = TrainedPoolingSpec(kind=kind, latents=8, heads=2, head_size=8)
    trained = TrainedPooling(sizes, hidden_size=16, num_layers=3).eval().requires_grad_(False)
    inputs, (states, padded) = make_rows(prefix=4), make_states(prefix=4, gap=2)
    padded, method = padded.nan_to_num(0.0), SGPT(pooling=pooling)
    reader = BatchPooling([method], trained, inputs)
    for layer in trained.layers:
        reader.read(layer, replace(states, states_TD=states.states_TD * (layer + 2)))
    (found,) = reader.finish().wait()
    layers = {layer: padded * (layer + 2) for layer in trained.layers}
    if kind == "multi_layer":
        layers = {
            layer: torch.cat([one[:, :4] / (layer + 2), one[:, 4:]], 1)
            for layer, one in layers.items()
        }
    else:
        layers = {-1: padded}
    assert np.allclose(found, pool_rows(method, trained, layers, inputs), atol=1e-5)


def test_states_are_pooled_within_the_pass_a_layer_at_a_time(encoder):
    """A reader is handed layer k before layer k + 1 has run."""
    backbone, events = encoder("sgpt").backbone, []
    layers = backbone.model.layers
    hooks = [
        layer.register_forward_hook(lambda *_, at=at: events.append(f"ran {at}"))
        for at, layer in enumerate(layers)
    ]

    class Recorder:
        def __init__(self, rows):
            self.rows = rows

        def read(self, layer, states):
            events.append(f"read {layer}")

        def finish(self):
            return len(self.rows)

    inputs = Inputs([[5, 6, 7], [8]], [[True] * 3, [True]])
    found = list(
        forward(backbone, inputs, attention="causal", layers=[0, 1, 2, -1], make_reader=Recorder)
    )
    for hook in hooks:
        hook.remove()
    assert found == [([0, 1], 2)]
    assert events == ["read 0", "ran 0", "read 1", "ran 1", "read 2", "ran 2", "read -1"]
