"""Ids and vectors equal those of plain re-implementations of the official codes, on a few texts."""

import dataclasses
import importlib
import re

import numpy as np
import pytest

from tests.parity import compare as parity
from tests.parity.compare import compare, groups, official, row_name
from tests.parity.plain import padded

TEXTS = [
    "A man is playing a guitar.",
    "Is it raining?",
    'He said "no" and left',
    "Numbers like 1,234 and 5.6; names like Ångström; 短い文 🙂",
    "one",
    "",
    "Repetition is the mother of learning, " * 6,
]
GROUPS = [pytest.param(*one, id=row_name(*one).replace("`", "")) for one in groups()]


@pytest.fixture(scope="module")
def demo_model(smollm2):
    return smollm2("sgpt") and "smollm2_135m"


@pytest.mark.parametrize(("method", "group"), GROUPS)
def test_ids_and_vectors_equal_the_official_codes(method, group, demo_model):
    found = compare(method, group, TEXTS, model=demo_model)
    assert found.equal == found.texts >= len(TEXTS) - 1
    assert found.cosine >= 0.99999 and found.difference < 2e-3


@pytest.mark.parametrize("method", parity.methods())
def test_a_page_cites_the_code_it_is_compared_with(method):
    page = importlib.import_module(f"methods.{method}").__doc__ or ""
    for commit in re.findall(r"@(\w{7})", official(method).CODE):
        assert f"@{commit}" in page


def test_another_reading_and_another_pooling_are_seen(demo_model, monkeypatch):
    module = official("sgpt")
    (plain, *_) = module.GROUPS
    other = dataclasses.replace(plain, fields={"template": "brackets"})
    monkeypatch.setattr(module, "row", lambda t, text, g: parity_row(t, f"[{text}]"))
    found = compare("sgpt", other, TEXTS, model=demo_model)
    assert found.equal < found.texts
    monkeypatch.undo()
    monkeypatch.setattr(module, "pool", lambda states_BLD, mask_BL, rows: states_BLD[:, 0])
    found = compare("sgpt", plain, TEXTS, model=demo_model)
    assert found.equal == found.texts and found.cosine < 0.9 and found.difference > 0.1


def parity_row(tokenizer, text):
    return official("sgpt").Row(tokenizer(text)["input_ids"])


def test_rows_are_padded_on_the_side_that_is_asked_for():
    for side, ids, mask in (
        ("left", [[5, 6, 7], [0, 0, 8]], [[1, 1, 1], [0, 0, 1]]),
        ("right", [[5, 6, 7], [8, 0, 0]], [[1, 1, 1], [1, 0, 0]]),
    ):
        found = padded([[5, 6, 7], [8]], padding=side, pad=0)
        assert [part.tolist() for part in found] == [ids, mask]


def test_the_baseline_row_is_what_sentence_transformers_gives(smollm2):
    from sentence_transformers import SentenceTransformer

    from methods import load_encoder

    smollm2("sgpt")  # skipped where models cannot be fetched
    encoder = load_encoder("sentence_encoder", model="minilm_l6", dtype="float32", cache=None)
    folder = encoder.backbone.model.config._name_or_path
    reference = SentenceTransformer(folder, device="cpu")  # no pooling files here: mean by default
    reference.max_seq_length = 256
    expected = reference.encode(TEXTS, normalize_embeddings=True)
    assert np.abs(encoder.encode(TEXTS) - expected).max() < 1e-5
