"""What is changed within a pass: its places, its keys, its rows together, and what is refused."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from methods.backbone.steering import find_places
from methods.base import Inputs, Span, encode_spans
from methods.contrastive_prompting import ContrastivePrompting
from methods.encoding.embedder import Embedder
from methods.encoding.encoder import Encoder
from methods.encoding.store import EmbeddingCache
from methods.encoding.vector_keys import make_cell_keys, make_row_keys
from methods.prompteol import PromptEOL
from methods.token_prepending import TokenPrepending

TEXTS = ["a dog", "a cat and a dog that sleep", "", "a dog", "something else"]
CP = ContrastivePrompting(at=1)


@dataclass(frozen=True, kw_only=True)
class Broken(TokenPrepending):
    made: str = "shape"

    def steer(self, site, states_TD, places):
        return places.at("nothing") if self.made == "mark" else states_TD[1:]


@pytest.fixture
def backbone(encoder):
    return encoder("sgpt").backbone


def test_places_are_text_by_text_whatever_the_batchs_order():
    marks = {"slot": [[0], [1, 2], [3], []]}
    places = find_places([2, 0, 1], np.array([0, 5, 8]), np.array([5, 3, 3]), marks, "cpu")
    assert places.first.tolist() == [5, 8, 0] and places.last.tolist() == [7, 10, 4]
    assert places.at("slot").tolist() == [5, 9, 10, 3]
    states = torch.arange(11.0)[:, None]
    assert places.mean(states).flatten().tolist() == [6.0, 9.0, 2.0]


def test_marks_follow_their_tokens(backbone):
    rows = [
        (Span("ab"), Span((5,), mark="slot"), Span(text, cut=True), Span((6, 7), mark="end"))
        for text in ("x", "y" * 50)
    ]
    inputs = encode_spans(rows, tokenizer=backbone.tokenizer, max_length=12)
    assert inputs.marks == {"slot": [[2], [2]], "end": [[4, 5], [10, 11]]}
    assert inputs.rows([1]).marks == {"slot": [[2]], "end": [[10, 11]]}
    with pytest.raises(ValueError, match="mark 'slot' has 1 lists .* in row 0 they are not"):
        Inputs([[1, 2]], [[True, True]], marks={"slot": [[2]]})
    with pytest.raises(ValueError, match="without a limit or a mark"):
        spans = [(Span("a"), Span("b", joined=True, mark="slot"))]
        encode_spans(spans, tokenizer=backbone.tokenizer, max_length=None)


@pytest.mark.parametrize("method", [CP, TokenPrepending()])
def test_batches_of_any_size_give_the_same_vectors(method, backbone):
    whole = Encoder(backbone, method).encode(TEXTS)
    before = backbone.batch_tokens
    try:
        backbone.batch_tokens = 64
        small = Encoder(backbone, method).encode(TEXTS)
    finally:
        backbone.batch_tokens = before
    assert np.abs(whole - small).max() < 2e-6 * max(1, np.abs(whole).max())


@pytest.mark.parametrize("method", [CP, TokenPrepending()])
def test_steered_vectors_are_cached_under_keys_of_their_own(method, backbone, tmp_path):
    store = EmbeddingCache(tmp_path, max_bytes=1 << 24)
    inputs = method.prepare_inputs(TEXTS, tokenizer=backbone.tokenizer)
    Embedder(backbone, [PromptEOL(layer=-2)], store).vectors(
        Inputs(inputs.ids, inputs.pool_mask), 0
    )
    first = Embedder(backbone, [method], store)
    vectors = first.vectors(inputs, 0)
    assert first.usage.tokens_computed == sum(
        map(len, {tuple(ids): ids for ids in inputs.ids}.values())
    )
    again = Embedder(backbone, [method], store)
    assert np.array_equal(vectors, again.vectors(inputs, 0)) and not again.usage.tokens_computed
    store.close()


def test_a_row_is_known_by_its_text_and_its_marks(backbone):
    tokenizer = backbone.tokenizer
    inputs = CP.prepare_inputs(["a", "b"], tokenizer=tokenizer)
    keys = make_row_keys(inputs, CP)
    other = Inputs([*inputs.ids[:3], inputs.ids[1]], [*inputs.pool_mask[:3], inputs.pool_mask[1]])
    assert len(set(keys)) == 4
    assert [a == b for a, b in zip(keys, make_row_keys(other, CP), strict=True)] == [
        *(True, True, False, False)
    ]
    prepending = TokenPrepending()
    marked = prepending.prepare_inputs(["a"], tokenizer=tokenizer)
    moved = replace(marked, marks={"slot": [[3]]})
    assert make_row_keys(marked, prepending) != make_row_keys(moved, prepending)


def test_the_fields_of_a_steering_method_are_in_its_keys(backbone):
    plain = PromptEOL(layer=2)
    cells = [
        plain,
        replace(CP, layer=2),
        replace(CP, layer=2, scale=None),
        replace(CP, at=0, layer=2),
    ]
    keys = [make_cell_keys(backbone, [cell])[0] for cell in cells]
    assert len(set(keys)) == 4


def test_layers_and_poolings_of_a_steered_pass_share_it(backbone):
    cells = [replace(CP, layer=layer, pooling=p) for layer in (1, 2, -1) for p in ("last", "mean")]
    shared = Embedder(backbone, cells)
    inputs = CP.prepare_inputs(TEXTS, tokenizer=backbone.tokenizer)
    for place, cell in enumerate(cells):
        alone = Embedder(backbone, [cell]).vectors(inputs, 0)
        assert np.allclose(shared.vectors(inputs, place), alone, atol=1e-6)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("shape", r"Broken.steer returned \[\d+, 32\] at .*'input', 1.* with other values"),
        ("mark", "no row has a mark 'nothing'; prepare_inputs sets: slot"),
    ],
)
def test_what_steer_returns_is_checked(made, message, backbone):
    with pytest.raises(ValueError, match=message):
        Encoder(backbone, Broken(made=made)).encode(TEXTS)
    assert np.isfinite(Encoder(backbone, PromptEOL()).encode(TEXTS)).all()  # no hook was left
