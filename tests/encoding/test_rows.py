"""Several rows of a text and several layers make one vector; rows are what is cached."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from methods.base import Inputs, Method, Span, encode_spans, pool_inputs
from methods.encoding.chunks import FEWEST, split_kinds
from methods.encoding.embedder import Embedder
from methods.encoding.encoder import Encoder
from methods.encoding.store import EmbeddingCache
from methods.sgpt import SGPT

TEXTS = ["a dog", "a cat and a dog", "", "a dog", "something else"]


@dataclass(frozen=True, kw_only=True)
class TwoRows(Method):
    """The text behind each of two words; the difference of the two."""

    rows_per_text = 2
    lost: int = 0

    def prepare_inputs(self, texts, *, tokenizer, prompt_type=None, instruction=None):
        rows = [
            (Span(f"{word} of the rows of a text: "), Span(text, cut=True))
            for text in texts
            for word in ("one", "another")
        ]
        rows = rows[: len(rows) - self.lost]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD, inputs):
        return pool_inputs(hidden_BLD, inputs, self.pooling)

    def combine(self, pooled_NRKD):
        return pooled_NRKD[:, 0, 0] - pooled_NRKD[:, 1, 0]


@dataclass(frozen=True, kw_only=True)
class MeanOfLayers(SGPT):
    """The mean of layers, of one row."""

    layers = (1, 2, -1)

    def combine(self, pooled_NRKD):
        return pooled_NRKD[:, 0].mean(1)


@dataclass(frozen=True, kw_only=True)
class Reads(SGPT):
    """A layer's states and what heads read in one below it, added."""

    at: int = 0

    @property
    def layers(self):
        return (1, ("heads", self.at))

    def combine(self, pooled_NRKD):
        return pooled_NRKD[:, 0].sum(1)


class Undecided(SGPT):
    layers = (1, 2)


@pytest.fixture
def store(tmp_path):
    store = EmbeddingCache(tmp_path, max_bytes=1 << 24)
    yield store
    store.close()


@pytest.fixture(params=[True, False], ids=["packed", "padded"])
def backbone(encoder, request):
    return encoder("sgpt", packed=request.param).backbone


def hidden(backbone, ids, layer):
    with torch.inference_mode():
        return backbone.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer]


@pytest.mark.parametrize("texts", [TEXTS, [f"{text} {n}" for n in range(9) for text in TEXTS]])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_a_vector_is_made_of_the_rows_of_its_text(backbone, attention, texts):
    method = TwoRows(attention=attention, normalize=True)
    found = Encoder(backbone, method).encode(texts)
    rows = method.prepare_inputs(texts, tokenizer=backbone.tokenizer)
    single = Embedder(backbone, [SGPT(attention=attention, pooling="last")])
    pooled = single.vectors(Inputs(rows.ids, rows.pool_mask), 0)
    expected = pooled[::2] - pooled[1::2]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(found - expected).max() < 1e-5


def test_a_vector_is_made_of_its_layers(backbone):
    found = Encoder(backbone, MeanOfLayers(pooling="mean")).encode(TEXTS)
    inputs = SGPT().prepare_inputs(TEXTS, tokenizer=backbone.tokenizer)
    for ids, vector in zip(inputs.ids, found, strict=True):
        states = [hidden(backbone, ids, layer)[0].mean(0) for layer in (1, 2, 3)]
        assert np.allclose(vector, torch.stack(states).mean(0).numpy(), atol=1e-5)


def test_rows_and_layers_are_cached_before_they_are_combined(encoder, store):
    backbone = encoder("sgpt").backbone
    plain = SGPT(pooling="mean")
    inputs = plain.prepare_inputs(TEXTS, tokenizer=backbone.tokenizer)
    layers = [replace(plain, layer=layer) for layer in (1, 2, -1)]
    Embedder(backbone, layers, store).vectors(inputs, 0)
    shared = Embedder(backbone, [MeanOfLayers(pooling="mean")], store)
    shared.vectors(inputs, 0)
    assert shared.usage.tokens_computed == 0

    first = Embedder(backbone, [TwoRows()], store)
    inputs = TwoRows().prepare_inputs(TEXTS, tokenizer=backbone.tokenizer)
    vectors = first.vectors(inputs, 0)
    distinct = {tuple(ids) for ids in inputs.ids}
    assert first.usage.tokens_computed == sum(map(len, distinct)) and len(distinct) == 8
    assert first.usage.texts == len(TEXTS)
    again = Embedder(backbone, [TwoRows()], store)
    assert np.array_equal(vectors, again.vectors(inputs, 0))
    assert again.usage.tokens_computed == 0
    alone = Embedder(backbone, [SGPT(pooling="last")], store)
    alone.vectors(inputs.rows([1, 3]), 0)
    assert alone.usage.tokens_computed == 0


def test_pooling_lists_and_other_rows_share_a_pass(encoder):
    backbone = encoder("sgpt").backbone
    cells = [MeanOfLayers(pooling=pooling) for pooling in ("mean", "last")]
    shared = Embedder(backbone, [*cells, SGPT(pooling="mean", layer=2)])
    assert shared.layers == [-1, 1, 2]
    assert [len(own) for own in shared.by_cell] == [3, 3, 1]
    inputs = SGPT().prepare_inputs(TEXTS, tokenizer=backbone.tokenizer)
    for place, cell in enumerate(cells):
        assert np.array_equal(
            shared.vectors(inputs, place), Embedder(backbone, [cell]).vectors(inputs, 0)
        )


def test_rows_of_a_kind_are_computed_together_where_there_are_enough():
    few, many = list(range(6)), list(range(2 * FEWEST))
    assert split_kinds(few, 2) == [few]
    assert split_kinds(many, 1) == [many]
    assert split_kinds(many, 2) == [many[::2], many[1::2]]
    odd = [1, 3, *range(5, 2 * FEWEST + 3)]
    kinds = [[odd[place] % 2 for place in part] for part in split_kinds(odd, 2)]
    assert [set(kind) for kind in kinds] == [{0}, {1}]


def test_a_wrong_number_of_rows_fails_at_once(backbone):
    with pytest.raises(ValueError, match=r"TwoRows.* returned 9 rows for 5 texts.* with 2 rows"):
        Encoder(backbone, TwoRows(lost=1)).encode(TEXTS)


def test_several_rows_or_layers_without_combine_fail_at_once():
    with pytest.raises(ValueError, match=r"Undecided pools 1 rows .* 2 layers.*combine"):
        Undecided()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda pooled: pooled, r"combine returned \[5, 2, 1, 32\].*a float tensor \[5, D\]"),
        (lambda pooled: pooled[:, 0, 0].numpy(), "combine returned ndarray"),
        (lambda pooled: pooled[:, 0, 0] / 0, "combine gives text 0 a vector that is not finite"),
    ],
)
def test_what_combine_returns_is_checked(encoder, monkeypatch, made, message):
    monkeypatch.setattr(TwoRows, "combine", lambda self, pooled: made(pooled))
    with pytest.raises(ValueError, match=message):
        Encoder(encoder("sgpt").backbone, TwoRows()).encode(TEXTS)


def test_values_and_heads_are_read_beside_layers(backbone):
    method = Reads(pooling="last")
    found = Encoder(backbone, method).encode(["a dog"])[0]
    inputs, kept = SGPT().prepare_inputs(["a dog"], tokenizer=backbone.tokenizer), []
    attention = backbone.model.layers[0].self_attn
    hook = attention.o_proj.register_forward_pre_hook(lambda _, args: kept.append(args[0][0, -1]))
    states = hidden(backbone, inputs.ids[0], 1)[0, -1]
    hook.remove()
    assert np.allclose(found, (states + kept[0]).numpy(), atol=1e-5)
    assert Embedder(backbone, [method]).layers == [1, ("heads", 0)]
    with pytest.raises(ValueError, match=r"heads 3 is out of range.* 0 to 2"):
        Embedder(backbone, [Reads(at=3)])


def test_a_layer_without_effect_is_refused(encoder):
    backbone = encoder("sgpt").backbone
    with pytest.raises(ValueError, match="layer=0 has no effect on MeanOfLayers.* 1, 2, -1"):
        Embedder(backbone, [MeanOfLayers(layer=0)])
