"""Texts in chunks give the vectors of texts in one, and a card is not left without work."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from methods.encoding import batch_pooling, embedder
from methods.encoding.chunks import cut_texts, find_chunk_size, hold_back
from methods.encoding.embedder import Embedder
from methods.encoding.encoder import Encoder
from methods.encoding.store import MemoryStore
from methods.sgpt import SGPT

DRAW = np.random.default_rng(0)
TEXTS = ["".join(DRAW.choice(list("abc de"), n)) for n in DRAW.integers(1, 40, 60)]
TEXTS += [*TEXTS[:20], "", "a"]


@pytest.fixture
def on_card(encoder):
    """An encoder whose model is said to be on a card, with batches of 64 tokens."""

    def make(method=None, **fields):
        loaded = encoder("sgpt", **fields)
        choices = {**loaded.backbone.choices, "device": "cuda:0"}
        backbone = replace(loaded.backbone, choices=choices, batch_tokens=64)
        return Encoder(backbone, method or loaded.method)

    return make


def test_chunks_hold_every_text_once_longest_first_and_a_cpu_gets_one(encoder, on_card):
    assert cut_texts(TEXTS, None) == [range(len(TEXTS))] == cut_texts(TEXTS, 10**6)
    chunks = cut_texts(TEXTS, 200)
    assert sorted(place for chunk in chunks for place in chunk) == list(range(len(TEXTS)))
    lengths = [len(TEXTS[place]) for chunk in chunks for place in chunk]
    assert len(chunks) > 4 and lengths == sorted(lengths, reverse=True)
    assert find_chunk_size(encoder("sgpt").backbone) is None
    assert find_chunk_size(on_card().backbone) == 2 * 4 * 64


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_chunks_give_the_vectors_of_one_call_and_compute_a_row_once(
    encoder, on_card, attention, normalize
):
    expected = encoder("sgpt", attention=attention, normalize=normalize).encode(TEXTS)
    loaded = on_card(attention=attention, normalize=normalize)
    assert len(cut_texts(TEXTS, find_chunk_size(loaded.backbone))) > 2
    assert np.allclose(loaded.encode(TEXTS), expected, atol=1e-6)
    usage = loaded.shared.usage
    rows = loaded.method.prepare_inputs(TEXTS, tokenizer=loaded.backbone.tokenizer).ids
    assert usage.texts == len(TEXTS) and usage.tokens == sum(map(len, rows))
    assert usage.tokens_computed == sum(map(len, {tuple(row) for row in rows}))
    assert loaded.encode([]).shape == (0, 32)


def test_a_card_has_the_next_batches_before_vectors_are_waited_for(on_card, monkeypatch):
    events, plain_begin = [], batch_pooling.HostCopy.begin
    plain_prepare = SGPT.prepare_inputs

    class Copied:
        def __init__(self):
            self.number = sum(event.startswith("launch") for event in events)
            events.append(f"launch {self.number}")

        def synchronize(self):
            events.append(f"wait {self.number}")

    def prepare(self, texts, **more):
        events.append("prepare")
        return plain_prepare(self, texts, **more)

    monkeypatch.setattr(
        batch_pooling.HostCopy, "begin", lambda parts: replace(plain_begin(parts), copied=Copied())
    )
    monkeypatch.setattr(SGPT, "prepare_inputs", prepare)
    on_card().encode([str(number) * 30 for number in range(40)])
    launches = [event for event in events if event != "prepare"]
    number = sum(event.startswith("launch") for event in launches)
    assert number > 10 and events.count("prepare") > 2
    for at in range(number - embedder.AHEAD):
        assert launches.index(f"wait {at}") == launches.index(f"launch {at + 2}") + 1
    for place, event in enumerate(events):
        if event == "prepare" and place:  # the card has two batches to compute meanwhile
            begun, done = (
                sum(one.startswith(kind) for one in events[:place]) for kind in ("launch", "wait")
            )
            assert begun - done == embedder.AHEAD


@dataclass(frozen=True, kw_only=True)
class Broken(SGPT):
    """SGPT, but for a text that cannot be prepared, and one whose vector is zero."""

    def prepare_inputs(self, texts, **more):
        if any(text.startswith("broken") for text in texts):
            raise RuntimeError("cannot be prepared")
        return super().prepare_inputs(texts, **more)

    def pool(self, hidden_BLD, inputs):
        vectors_BD = super().pool(hidden_BLD, inputs)
        zero = [row for row, ids in enumerate(inputs.ids) if len(ids) == 7]
        vectors_BD[zero] = 0
        return vectors_BD


def test_errors_name_the_text_and_lose_no_batch_that_was_launched(on_card):
    texts = [str(number) * 30 for number in range(40)]
    loaded = on_card(Broken(normalize=True))
    with pytest.raises(ValueError, match=r"^text 41 gives a vector of zeros \(7 tokens\)"):
        loaded.encode([*texts, "ab", "sevenxx"])
    store = MemoryStore(1 << 20)
    loaded.shared = Embedder(loaded.backbone, [loaded.method], store)
    with pytest.raises(RuntimeError, match="cannot be prepared"):
        loaded.encode([*texts[:5], "broken" * 5, *texts[5:]])
    known = len(store._vectors)
    assert 0 < known < 40
    loaded.encode(texts)
    rows = loaded.method.prepare_inputs(texts, tokenizer=loaded.backbone.tokenizer).ids
    lengths = sorted(map(len, rows), reverse=True)
    assert loaded.shared.usage.tokens_computed == sum(lengths[known:])


def test_steps_are_held_back_in_order_and_come_before_an_error():
    def steps():
        yield from ("a", 1, "b", "c", 2, "d", 3)
        raise RuntimeError("end")

    for number in (0, 1, 2, 9):
        found = []
        with pytest.raises(RuntimeError, match="end"):
            found.extend(
                step
                for step in hold_back(steps(), number, lambda step: isinstance(step, str))
                if found.append(step)
            )
        assert found == ["a", 1, "b", "c", 2, "d", 3]
