"""Poolings that are trained, against their papers' formulas written out number by number."""

import math

import pytest
import torch

from methods.backbone.trained_pooling import (
    TrainedPooling,
    TrainedPoolingSpec,
    load_trained_pooling,
    save_trained_pooling,
)
from methods.pooling import mean

D, HEADS, SIZE, LATENTS = 6, 2, 3, 4


def pooler(kind, layers=3):
    torch.manual_seed(5)
    spec = TrainedPoolingSpec(kind=kind, latents=LATENTS, heads=HEADS, head_size=SIZE)
    return TrainedPooling(spec, hidden_size=D, num_layers=layers)


def linear(layer, x):
    rows = layer.weight.tolist()
    bias = [0.0] * len(rows) if layer.bias is None else layer.bias.tolist()
    return [
        sum(w * v for w, v in zip(row, x, strict=True)) + b
        for row, b in zip(rows, bias, strict=True)
    ]


def normed(x):
    middle = sum(x) / len(x)
    spread = sum((v - middle) ** 2 for v in x) / len(x)
    return [(v - middle) / math.sqrt(spread + 1e-5) for v in x]


def attended(block, query, context):
    """One query after attention and the gated layer."""
    own = linear(block.to_queries, normed(query))
    keys = [linear(block.to_keys, normed(c)) for c in context]
    values = [linear(block.to_values, normed(c)) for c in context]
    read = []
    for head in range(HEADS):
        part = slice(head * SIZE, (head + 1) * SIZE)
        scores = [
            sum(a * b for a, b in zip(own[part], key[part], strict=True)) / math.sqrt(SIZE)
            for key in keys
        ]
        shares = [math.exp(s) / sum(map(math.exp, scores)) for s in scores]
        for place in range(SIZE):
            read.append(sum(s * v[part][place] for s, v in zip(shares, values, strict=True)))
    x = [a + b for a, b in zip(query, linear(block.out, read), strict=True)]
    wide = linear(block.widen, normed(x))
    value, gate = wide[: 4 * D], wide[4 * D :]
    gelu = [
        v * g * 0.5 * (1 + math.erf(g / math.sqrt(2))) for v, g in zip(value, gate, strict=True)
    ]
    return [a + b for a, b in zip(x, linear(block.narrow, gelu), strict=True)]


def test_latent_attention_is_tokens_over_latents_and_then_the_mean():
    made = pooler("latent_attention")
    hidden = torch.randn(2, 3, D)
    mask = torch.tensor([[True, True, True], [False, True, False]])
    found = made({-1: hidden}, lambda states: mean(states, mask))
    latents = made.latents.tolist()
    for row in range(2):
        tokens = [hidden[row, i].tolist() for i in range(3) if mask[row, i]]
        states = [attended(made.block, token, latents) for token in tokens]
        expected = [sum(column) / len(states) for column in zip(*states, strict=True)]
        assert found[row].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_multi_layer_is_latents_over_the_layers_and_then_their_mean():
    made = pooler("multi_layer")
    states = {layer: torch.randn(1, 2, D) for layer in (1, 2, -1)}
    mask = torch.ones(1, 2, dtype=torch.bool)
    found = made(states, lambda hidden: mean(hidden, mask))
    assert made.layers == [1, 2, -1]
    context = [
        (states[layer][0].mean(0) + made.places[place]).tolist()
        for place, layer in enumerate((1, 2, -1))
    ]
    latents = [attended(made.block, latent, context) for latent in made.latents.tolist()]
    expected = [sum(column) / LATENTS for column in zip(*latents, strict=True)]
    assert found[0].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_pooler_is_read_as_it_was_written(tmp_path):
    made = pooler("multi_layer")
    save_trained_pooling(made, tmp_path)
    again = load_trained_pooling(tmp_path, hidden_size=D, num_layers=3)
    assert again.spec == made.spec and not any(p.requires_grad for p in again.parameters())
    same = zip(made.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
    assert load_trained_pooling(tmp_path / "nowhere", hidden_size=D, num_layers=3) is None


def test_a_pooler_of_another_model_or_cut_short_is_refused(tmp_path):
    save_trained_pooling(pooler("multi_layer"), tmp_path)
    with pytest.raises(ValueError, match="does not fit this model"):
        load_trained_pooling(tmp_path, hidden_size=D, num_layers=4)
    file = tmp_path / "pooler.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match="cut short"):
        load_trained_pooling(tmp_path, hidden_size=D, num_layers=3)
    with pytest.raises(ValueError, match="pooler.kind 'cls' is unknown; valid: latent_attention"):
        TrainedPoolingSpec(kind="cls")
