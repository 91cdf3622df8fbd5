"""Batches, layers and the refusal of what does not fit."""

import numpy as np
import pytest
import torch

from methods.backbone.forward import batches, forward, resolve_layer
from methods.base import Inputs

ROWS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [15, 16]]


def inputs(rows=ROWS):
    return Inputs(rows, [[True] * len(row) for row in rows])


def test_batches_hold_every_row_once_longest_first_within_the_budget():
    lengths = [3, 9, 1, 1, 5, 9, 2]
    found = list(batches(lengths, 10))
    assert sorted(row for batch in found for row in batch) == list(range(7))
    assert all(len(b) * max(lengths[r] for r in b) <= 10 for b in found)
    assert [lengths[b[0]] for b in found] == sorted((lengths[b[0]] for b in found), reverse=True)


def test_a_row_longer_than_the_budget_still_runs():
    assert list(batches([50, 1], 10)) == [[0], [1]]


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_states_of_every_layer_are_those_transformers_gives(encoder, attention):
    from methods.backbone.attention import attending

    backbone = encoder("sgpt").backbone
    layers = [0, 1, 2, -1]
    found = {}
    for rows, states in forward(backbone, inputs(), attention=attention, layers=layers):
        for place, row in enumerate(rows):
            found[row] = {k: s[place, : len(ROWS[row])] for k, s in states.items()}
    for row, ids in enumerate(ROWS):
        with attending(backbone.model, attention), torch.inference_mode():
            output = backbone.model(torch.tensor([ids]), output_hidden_states=True)
        for layer in layers:
            expected = output.hidden_states[layer][0]
            assert torch.allclose(found[row][layer], expected, atol=1e-6), (row, layer)


@pytest.mark.parametrize(("asked", "meant"), [(0, 0), (3, -1), (-1, -1), (2, 2), (-2, 2), (-4, 0)])
def test_layers_count_as_transformers_counts_them(asked, meant):
    assert resolve_layer(asked, 3) == meant


@pytest.mark.parametrize("layer", [4, -5])
def test_a_layer_out_of_range_is_an_error_with_the_range(layer):
    with pytest.raises(ValueError, match=r"3 layers: valid are 0 .* to 3, or -1 .* down to -4"):
        resolve_layer(layer, 3)


def test_a_row_longer_than_the_models_positions_is_refused(encoder):
    backbone = encoder("sgpt").backbone
    with pytest.raises(ValueError, match="5000 tokens is longer than the 4096 positions"):
        list(forward(backbone, inputs([[5] * 5000]), attention="causal", layers=[-1]))


def test_cells_of_one_pass_equal_cells_run_alone(encoder):
    from dataclasses import replace

    from methods.evaluation.encoder import SharedPass

    loaded = encoder("sgpt")
    texts = ["a dog", "a cat and a dog", ""]
    cells = [
        replace(loaded.method, pooling=pooling, layer=layer)
        for pooling in ("last", "mean", "weighted_mean")
        for layer in (0, 2, 3, -1)
    ]
    shared = SharedPass(loaded.backbone, cells)
    rows = loaded.method.prepare_inputs(texts, tokenizer=loaded.backbone.tokenizer)
    for index, cell in enumerate(cells):
        alone = encoder("sgpt", pooling=cell.pooling, layer=cell.layer).encode(texts)
        assert np.allclose(shared.vectors(rows, index), alone, atol=1e-6)
    assert shared.usage.tokens == len(cells) * sum(map(len, rows.ids))
    assert shared.usage.tokens_computed == sum(map(len, rows.ids))
