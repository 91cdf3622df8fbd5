"""Batches, layers and the refusal of what does not fit."""

import weakref

import numpy as np
import pytest
import torch

from methods.backbone import forward as engine
from methods.backbone.batches import make_batches
from methods.backbone.forward import forward
from methods.backbone.layers import resolve_layer
from methods.backbone.structure import find_decoder_layers
from methods.base import Inputs
from methods.encoding import batch_pooling

ROWS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [15, 16]]


def inputs(rows=ROWS):
    return Inputs(rows, [[True] * len(row) for row in rows])


def test_batches_hold_every_row_once_longest_first_within_the_budget():
    lengths = [3, 9, 1, 1, 5, 9, 2]
    found = list(make_batches(lengths, 10, packed=False))
    assert sorted(row for batch in found for row in batch) == list(range(7))
    assert all(len(b) * max(lengths[r] for r in b) <= 10 for b in found)
    assert [lengths[b[0]] for b in found] == sorted((lengths[b[0]] for b in found), reverse=True)


def test_packed_batches_count_what_rows_have():
    lengths = [3, 9, 1, 1, 5, 9, 2]
    found = list(make_batches(lengths, 12, packed=True))
    assert sorted(row for batch in found for row in batch) == list(range(7))
    assert [sum(lengths[r] for r in b) for b in found] == [9, 9, 12]


@pytest.mark.parametrize("packed", [True, False])
def test_a_row_longer_than_the_budget_still_runs(packed):
    assert list(make_batches([50, 1], 10, packed=packed)) == [[0], [1]]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("layers", [[0], [1, 2]])
def test_nothing_runs_behind_the_deepest_layer_asked_for(encoder, packed, layers):
    backbone = encoder("sgpt", packed=packed).backbone
    ran = []
    hooks = [
        layer.register_forward_hook(lambda *_, at=at: ran.append(at))
        for at, layer in enumerate(find_decoder_layers(backbone.model))
    ]
    kept = [s for _, s in forward(backbone, inputs(), attention="causal", layers=layers)]
    for hook in hooks:
        hook.remove()
    assert set(ran) == set(range(max(layers)))
    assert all(set(states) == set(layers) for states in kept)


@pytest.mark.parametrize("packed", [True, False])
def test_out_of_memory_halves_the_budget_and_goes_on(encoder, packed, monkeypatch, caplog):
    backbone = encoder("sgpt", packed=packed, batch_tokens=999).backbone
    rows = [[5 + i] * (1 + i % 4) for i in range(20)]
    plain = backbone.model.forward

    def small(*arguments, **what):
        if what["input_ids"].numel() > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(*arguments, **what)

    monkeypatch.setattr(backbone.model, "forward", small)
    seen = []
    for batch, states in forward(backbone, inputs(rows), attention="causal", layers=[-1]):
        seen += batch
        for place, row in enumerate(batch):
            alone = plain(input_ids=torch.tensor([rows[row]])).last_hidden_state[0]
            assert torch.allclose(states[-1][place, : len(rows[row])], alone, atol=1e-5)
    assert sorted(seen) == list(range(20))
    assert backbone.batch_tokens == backbone.choices["batch_tokens"] <= 16
    assert f"batches of {backbone.batch_tokens} tokens from now on" in caplog.text
    with pytest.raises(torch.OutOfMemoryError):
        list(forward(backbone, inputs([[5] * 17]), attention="causal", layers=[-1]))


ROWS_OF_EIGHT = [[5 + i] * 8 for i in range(8)]


def test_out_of_memory_while_pooling_halves_the_budget_too(encoder, monkeypatch):
    loaded = encoder("sgpt", batch_tokens=999)
    expected = loaded.encode(["a b c", "d e f g", "h"])
    plain = batch_pooling.BatchPooling._pool

    def small(self, cell, states):
        if len(states.lengths) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, cell, states)

    monkeypatch.setattr(batch_pooling.BatchPooling, "_pool", small)
    loaded = encoder("sgpt", batch_tokens=998)
    assert np.allclose(loaded.encode(["a b c", "d e f g", "h"]), expected, atol=1e-6)
    assert loaded.backbone.batch_tokens < 998


def test_out_of_memory_in_a_shared_prefix_halves_the_budget_and_goes_on(encoder, monkeypatch):
    backbone = encoder("sgpt", batch_tokens=997).backbone
    rows = [[*range(5, 25), 30 + i] for i in range(4)]
    expected = [s for _, s in forward(backbone, inputs(rows), attention="causal", layers=[-1])]

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine, "_compute_prefix", full)
    found = [s for _, s in forward(backbone, inputs(rows), attention="causal", layers=[-1])]
    assert torch.allclose(found[0][-1], expected[0][-1], atol=1e-5)
    assert backbone.batch_tokens == 997 // 2


@pytest.mark.parametrize("packed", [True, False])
def test_memory_of_a_failed_pass_is_free_before_the_cache_is_emptied(encoder, packed, monkeypatch):
    backbone = encoder("sgpt", packed=packed, batch_tokens=64).backbone
    plain, held, alive = backbone.model.forward, [], []

    def small(*arguments, **what):
        large = torch.zeros(1000)
        held.append(weakref.ref(large))
        if what["input_ids"].numel() > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(*arguments, **what)

    monkeypatch.setattr(backbone.model, "forward", small)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(held[-1]() is not None))
    list(forward(backbone, inputs(ROWS_OF_EIGHT), attention="causal", layers=[-1]))
    assert alive and not any(alive)


def test_a_batch_is_let_go_before_the_next_is_computed(encoder, monkeypatch):
    backbone = encoder("sgpt", batch_tokens=16).backbone
    plain, held, alive = engine._run_packed_rows, [], []

    def watch(*arguments):
        alive.extend(one() is not None for one in held)
        return plain(*arguments)

    monkeypatch.setattr(engine, "_run_packed_rows", watch)
    rows = inputs(ROWS_OF_EIGHT)
    for _, states in forward(backbone, rows, attention="causal", layers=[-1]):
        held.append(weakref.ref(states[-1]))
        del states
    assert len(alive) == 6 and not any(alive)


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_states_of_every_layer_are_those_transformers_gives(encoder, attention):
    from methods.backbone.attention import attention_mode

    backbone = encoder("sgpt").backbone
    layers = [0, 1, 2, -1]
    found = {}
    for rows, states in forward(backbone, inputs(), attention=attention, layers=layers):
        for place, row in enumerate(rows):
            found[row] = {k: s[place, : len(ROWS[row])] for k, s in states.items()}
    for row, ids in enumerate(ROWS):
        with attention_mode(backbone.model, attention), torch.inference_mode():
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

    from methods.encoding.embedder import Embedder
    from methods.encoding.store import MemoryStore

    loaded = encoder("sgpt")
    texts = ["a dog", "a cat and a dog", ""]
    cells = [
        replace(loaded.method, pooling=pooling, layer=layer)
        for pooling in ("last", "mean", "weighted_mean")
        for layer in (0, 2, 3, -1)
    ]
    shared = Embedder(loaded.backbone, cells, MemoryStore(1 << 20))
    rows = loaded.method.prepare_inputs(texts, tokenizer=loaded.backbone.tokenizer)
    for index, cell in enumerate(cells):
        alone = encoder("sgpt", pooling=cell.pooling, layer=cell.layer).encode(texts)
        assert np.allclose(shared.vectors(rows, index), alone, atol=1e-6)
    assert shared.usage.tokens == len(cells) * sum(map(len, rows.ids))
    assert shared.usage.tokens_computed == sum(map(len, rows.ids))
