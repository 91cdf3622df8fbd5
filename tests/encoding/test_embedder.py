"""Cells share passes, passes are never made twice, and keys know what a vector depends on."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from methods.encoding import embedder
from methods.encoding.embedder import Embedder
from methods.encoding.store import EmbeddingCache, MemoryStore
from methods.encoding.vector_keys import identify_pool
from methods.sgpt import SGPT
from tests.backbone.architectures import SMALL
from tests.backbone.machine import needs_onednn

TEXTS = ["a dog", "a cat and a dog", "", "a dog", "something else"]


@pytest.fixture
def store(tmp_path):
    store = EmbeddingCache(tmp_path, max_bytes=1 << 24)
    yield store
    store.close()


@pytest.fixture
def loaded(encoder):
    return encoder("sgpt")


def cells_of(method):
    return [
        replace(method, pooling=pooling, layer=layer)
        for pooling in ("last", "mean", "weighted_mean")
        for layer in (1, -1)
    ]


def read(loaded, texts):
    return loaded.method.prepare_inputs(texts, tokenizer=loaded.backbone.tokenizer)


def test_a_second_run_makes_no_pass_and_gives_the_same_bits(loaded, store):
    inputs = read(loaded, TEXTS)
    first = Embedder(loaded.backbone, cells_of(loaded.method), store)
    again = Embedder(loaded.backbone, cells_of(loaded.method), store)
    for cell in range(6):
        assert np.array_equal(first.vectors(inputs, cell), again.vectors(inputs, cell))
    distinct = {tuple(ids) for ids in inputs.ids}
    assert first.usage.tokens_computed == sum(map(len, distinct))
    assert again.usage.tokens_computed == 0 and again.usage.tokens == 6 * sum(map(len, inputs.ids))


def test_only_what_is_new_is_read(loaded, store):
    shared = Embedder(loaded.backbone, [loaded.method], store)
    shared.vectors(read(loaded, TEXTS[:2]), 0)
    before = shared.usage.tokens_computed
    whole = shared.vectors(read(loaded, TEXTS), 0)
    new = read(loaded, ["", "something else"])
    assert shared.usage.tokens_computed - before == sum(map(len, new.ids))
    assert np.allclose(whole, loaded.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize(
    "change", ["attention", "layer", "pooling", "dtype", "model", "packed", "linears"]
)
def test_what_changes_a_vector_changes_its_key(loaded, encoder, change):
    def keys(encoder):
        return Embedder(encoder.backbone, [encoder.method])._keys

    values = {"attention": "bidirectional", "layer": 1, "pooling": "mean", "dtype": "bfloat16"}
    values |= {"packed": False, "linears": "torch"}
    if change == "linears":
        needs_onednn()  # else they are torch's own already
    if change == "model":
        source = {"_target_": "methods.backbone.sources.Random", "config": SMALL, "seed": 1}
        changed = encoder("sgpt", source=source)
    else:
        changed = encoder("sgpt", **{change: values[change]})
    assert keys(changed) != keys(loaded)


def test_cards_of_a_machine_share_vectors_and_other_devices_do_not(loaded):
    def keys(device):
        backbone = replace(loaded.backbone, choices={**loaded.backbone.choices, "device": device})
        return Embedder(backbone, [loaded.method])._keys

    assert keys("cuda:0") == keys("cuda:1") != keys("cpu")


def test_methods_that_read_and_pool_the_same_share_vectors(encoder, store):
    """Untrained, cpt_text and udever do."""
    one, other = encoder("cpt_text"), encoder("udever")
    Embedder(one.backbone, [one.method], store).vectors(read(one, TEXTS), 0)
    shared = Embedder(other.backbone, [other.method], store)
    assert np.allclose(shared.vectors(read(other, TEXTS), 0), one.encode(TEXTS), atol=1e-6)
    assert shared.usage.tokens_computed == 0


@dataclass(frozen=True, kw_only=True)
class Scaled(SGPT):
    scale: float = 2.0

    def pool(self, hidden_BLD, inputs):
        return self.scale * super().pool(hidden_BLD, inputs)


def test_a_pooling_of_a_methods_own_is_known_by_all_its_fields(loaded):
    plain = SGPT()
    assert identify_pool(plain) == identify_pool(replace(plain, max_length=9))
    identities = [identify_pool(Scaled(scale=scale)) for scale in (2.0, 3.0)]
    assert identify_pool(plain) not in identities and identities[0] != identities[1]


def test_what_was_read_before_an_error_is_kept(loaded, store, monkeypatch):
    shared = Embedder(loaded.backbone, [loaded.method], store)
    inputs = read(loaded, [str(number) * 30 for number in range(40)])
    loaded.backbone.batch_tokens, before = 64, loaded.backbone.batch_tokens
    plain, passes = embedder.forward.forward, []

    def failing(*arguments, **more):
        for batch, states in plain(*arguments, **more):
            if len(passes) == 7:
                raise RuntimeError("killed")
            passes.append(len(batch))
            yield batch, states

    try:
        monkeypatch.setattr(embedder.forward, "forward", failing)
        with pytest.raises(RuntimeError, match="killed"):
            shared.vectors(inputs, 0)
        monkeypatch.setattr(embedder.forward, "forward", plain)
        whole = shared.vectors(inputs, 0)
    finally:
        loaded.backbone.batch_tokens = before
    lengths = sorted(map(len, inputs.ids), reverse=True)
    assert shared.usage.tokens_computed == sum(lengths[sum(passes) :])
    assert np.allclose(whole, Embedder(loaded.backbone, [loaded.method]).vectors(inputs, 0))


def test_memory_that_is_too_small_costs_passes_but_no_vectors(loaded):
    shared = Embedder(loaded.backbone, cells_of(loaded.method), MemoryStore(100))
    inputs = read(loaded, TEXTS)
    for cell, method in enumerate(cells_of(loaded.method)):
        alone = Embedder(loaded.backbone, [method]).vectors(inputs, 0)
        assert np.array_equal(shared.vectors(inputs, cell), alone)
