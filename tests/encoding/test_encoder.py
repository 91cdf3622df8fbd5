"""The encoder people use: order, refusals, normalisation, task types."""

from dataclasses import dataclass
from typing import Any

import mteb
import numpy as np
import pandas as pd
import pytest
import torch

from methods.base import Inputs
from methods.encoding.encoder import Encoder
from methods.encoding.instructions import Instructions
from methods.sgpt import SGPT


def test_vectors_are_float32_in_the_order_given_and_not_normalised(encoder):
    loaded = encoder("sgpt")
    texts = [f"text number {i}" * (i % 3 + 1) for i in range(20)]
    vectors = loaded.encode(texts)
    assert vectors.dtype == np.float32 and vectors.shape == (20, 32)
    assert np.allclose(vectors[7], loaded.encode([texts[7]])[0], atol=1e-5)
    assert not np.allclose(np.linalg.norm(vectors, axis=1), 1)


def test_nothing_gives_nothing(encoder):
    assert encoder("sgpt").encode([]).shape == (0, 32)


def test_a_vector_that_is_not_finite_names_its_text(encoder):
    loaded = encoder("sgpt")
    weight = loaded.backbone.model.get_input_embeddings().weight
    token = loaded.backbone.tokenizer("Q", add_special_tokens=False)["input_ids"][0]
    kept = weight[token].clone()
    try:
        weight.data[token] = float("inf")
        with pytest.raises(ValueError, match=r"text 2 gives a vector that is not finite .*float32"):
            loaded.encode(["a", "bb", "Q", "d"])
    finally:
        weight.data[token] = kept


BAD = [
    ("a text", "takes a list of texts; for one text"),
    (np.str_("a text"), "takes a list of texts; for one text"),
    (b"a text", "a list of texts, not bytes"),
    (None, "a list of texts, not NoneType"),
    (7, "a list of texts, not int"),
    ({"a": 1}, "a list of texts, not dict"),
    ({"a", "b"}, "a list of texts, not set"),
    (pd.DataFrame({"text": ["a"]}), "a list of texts, not DataFrame"),
    (["a", None], "text 1 is NoneType, not a string"),
    ([b"a"], "text 0 is bytes, not a string; decode it"),
    (["a", 7], "text 1 is int, not a string"),
    ([["a", "b"]], "text 0 is list, not a string"),
    (["a", "b\ud800c"], r"text 1 has a lone surrogate .*at character 1.*'replace'"),
]


@pytest.mark.parametrize(("bad", "told"), BAD)
def test_what_is_no_list_of_texts_is_refused_by_its_place(bad, told, encoder):
    with pytest.raises(ValueError, match=told):
        encoder("sgpt").encode(bad)


def test_texts_that_come_through_mteb_are_checked_too(encoder):
    for bad, told in BAD[-5:-2]:
        with pytest.raises(ValueError, match=told):
            encoder("sgpt").encode([{"text": bad}], task_metadata=Metadata(type="STS"))
    with pytest.raises(ValueError, match="text 2 has a lone surrogate"):
        encoder("sgpt").encode(
            [{"text": ["a", "b"]}, {"text": ["\udfff"]}], task_metadata=Metadata(type="STS")
        )


@pytest.mark.parametrize(
    "given",
    [
        (text for text in ["a", "b"]),
        np.array(["a", "b"]),
        [np.str_("a"), "b"],
        ("a", "b"),
        pd.Series(["a", "b"], index=[5, 3]),
        iter(["a", "b"]),
    ],
)
def test_whatever_has_texts_in_an_order_is_taken(given, encoder):
    loaded = encoder("sgpt")
    assert np.array_equal(loaded.encode(given), loaded.encode(["a", "b"]))


def test_options_that_encode_lacks_are_refused_and_those_of_speed_taken(encoder):
    loaded = encoder("sgpt")
    with pytest.raises(ValueError, match="no option normalize_embeddings, prompt"):
        loaded.encode(["a"], normalize_embeddings=True, prompt="query: ")
    with pytest.raises(ValueError, match="the instruction is int, not a string"):
        loaded.encode(["a"], instruction=7)
    assert loaded.encode(["a"], batch_size=4, show_progress_bar=False).shape == (1, 32)


@dataclass(frozen=True, kw_only=True)
class Odd(SGPT):
    """SGPT, but for what a test puts in place of its rows or its vectors."""

    rows: Any = None
    vectors: Any = None

    def prepare_inputs(self, texts, **more):
        inputs = super().prepare_inputs(texts, **more)
        return self.rows(inputs) if self.rows else inputs

    def pool(self, hidden_BLD, inputs):
        vectors_BD = super().pool(hidden_BLD, inputs)
        return self.vectors(vectors_BD, hidden_BLD) if self.vectors else vectors_BD


@pytest.fixture
def odd(encoder):
    return lambda **fields: Encoder(encoder("sgpt").backbone, Odd(**fields))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (lambda i: Inputs(i.ids * 8, i.pool_mask * 8), "returned 24 rows for 3 texts"),
        (lambda i: i.rows([0, 1]), "returned 2 rows for 3 texts"),
        (lambda i: i.rows([]), "returned 0 rows for 3 texts"),
        (lambda i: None, "returned NoneType for 3 texts"),
        (lambda i: i.ids, "returned list for 3 texts"),
        (lambda i: Inputs([*i.ids[:2], [999]], [*i.pool_mask[:2], [True]]), "text 2 the token id"),
    ],
)
def test_rows_that_are_not_one_for_each_text_are_refused_by_the_methods_name(rows, told, odd):
    with pytest.raises(ValueError, match=f"Odd.prepare_inputs .*{told}"):
        odd(rows=rows).encode(["a", "bb", "ccc"])


@pytest.mark.parametrize(
    ("ids", "mask"),
    [
        ([5, 6, 7], [0, 3, 1]),  # `last` would pool the second position
        ([5, 6, 7], (True, True, True)),
        ([5, 6.0, 7], [True] * 3),
        ([True, False, True], [True] * 3),
        (["a", "b", "c"], [True] * 3),
        (np.array([5, 6, 7]), np.ones(3, bool)),
        (torch.tensor([5, 6, 7]), [True] * 3),
    ],
)
def test_rows_of_another_kind_than_ints_and_bools_are_refused(ids, mask):
    with pytest.raises(ValueError, match="row 1 has ids .* list of int, .* list of bool"):
        Inputs([[5], ids], [[True], mask])


@pytest.mark.parametrize(
    ("vectors", "told"),
    [
        (lambda v, h: h, r"\[3, 3, 32\] of torch.float32 for 3 texts"),
        (lambda v, h: v[0], r"\[32\] of torch.float32"),
        (lambda v, h: v[:-1], r"\[2, 32\] of torch.float32"),
        (lambda v, h: v[:, :0], r"\[3, 0\] of torch.float32"),
        (lambda v, h: v.long(), r"\[3, 32\] of torch.int64"),
        (lambda v, h: None, "returned NoneType"),
        (lambda v, h: v.numpy(), "returned ndarray"),
    ],
)
def test_pooled_vectors_of_another_shape_or_kind_are_refused(vectors, told, odd):
    with pytest.raises(ValueError, match=rf"Odd.pool returned {told}|Odd.pool {told}"):
        odd(vectors=vectors).encode(["a", "bb", "ccc"])


def test_nothing_has_as_many_dimensions_as_something(odd):
    for size in (5, 64):
        loaded = odd(vectors=lambda v, h, size=size: v.repeat(1, 2)[:, :size])
        assert loaded.encode(["a", "b"]).shape == (2, size)
        empty = loaded.encode([])
        assert empty.shape == (0, size) and empty.dtype == np.float32


@pytest.mark.parametrize("normalize", [True, False])
def test_vectors_that_are_not_finite_or_have_no_direction_name_their_text(odd, normalize):
    def spoilt(value):
        def vectors(v, h):
            v = v.clone()
            v[0] = value  # the longest text comes first
            return v

        return odd(vectors=vectors, normalize=normalize)

    for value in (float("nan"), float("inf")):
        with pytest.raises(
            ValueError, match=r"text 1 gives a vector that is not finite \(3 tokens"
        ):
            spoilt(value).encode(["a", "bbb", "cc"])
    if normalize:
        with pytest.raises(ValueError, match=r"text 1 gives a vector of zeros \(3 tokens\)"):
            spoilt(0.0).encode(["a", "bbb", "cc"])
        for value in (1e30, 1e-30):  # whose squares are no float32
            unit = spoilt(value).encode(["a", "bbb", "cc"])
            assert np.allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)
    else:
        assert not spoilt(0.0).encode(["a", "bbb", "cc"])[1].any()


def test_a_side_that_does_not_exist_is_refused(encoder):
    with pytest.raises(
        ValueError, match="prompt_type 'passage' is unknown; valid: query, document"
    ):
        encoder("sgpt").encode(["a"], prompt_type="passage")


class Metadata:
    def __init__(self, name="Any", type="Classification", prompt="Do it"):
        self.name, self.type, self.prompt = name, type, prompt


def as_mteb(loaded, type, prompt_type=None, prompt="Do it"):
    batches = [{"text": ["a", "b"]}, {"text": ["c"]}]
    return loaded.encode(
        batches, task_metadata=Metadata(type=type, prompt=prompt), prompt_type=prompt_type
    )


def test_e5_normalises_except_in_classification(encoder):
    loaded = encoder("e5_instruct")
    assert np.allclose(np.linalg.norm(as_mteb(loaded, "STS"), axis=1), 1, atol=1e-5)
    assert not np.allclose(np.linalg.norm(as_mteb(loaded, "Classification"), axis=1), 1, atol=1e-5)


def test_e5_reads_reranking_documents_as_queries_and_retrieval_documents_bare(encoder):
    loaded = encoder("e5_instruct", normalize=False)
    query = as_mteb(loaded, "Reranking", "query")
    assert np.allclose(as_mteb(loaded, "Reranking", "document"), query)
    assert not np.allclose(as_mteb(loaded, "Retrieval", "document"), query)


def test_llm2vec_phrases_mtebs_prompts_as_its_own_evaluation_does(encoder):
    loaded = encoder("llm2vec")
    for prompt in ("Retrieve it.", "Retrieve it", "Retrieve it:"):
        expected = loaded.encode(["a", "b", "c"], instruction="Retrieve it:")
        assert np.allclose(as_mteb(loaded, "STS", prompt=prompt), expected)


def test_instructions_come_from_mteb_or_a_table_and_never_from_nowhere():
    mtebs = Instructions()
    assert mtebs.find(Metadata(prompt={"query": "Q", "document": "D"})) == "Q"
    assert (
        mtebs.find(mteb.get_task("STSBenchmark").metadata) == "Retrieve semantically similar text."
    )
    with pytest.raises(ValueError, match=r"task Any \(STS\) has no instruction in mteb"):
        mtebs.find(Metadata(type="STS", prompt=None))
    table = Instructions(
        source="e5", types={"STS": "S"}, prefixes={"cqadup": "C"}, tasks={"X": "T"}
    )
    assert table.find(Metadata("STS12", "STS", None)) == "S"
    assert table.find(Metadata("CQADupstackGis", "Retrieval", None)) == "C"
    assert table.find(Metadata("X", "Retrieval", None)) == "T"
    with pytest.raises(ValueError, match="task PawsX .* has no instruction in the e5 table"):
        table.find(Metadata("PawsX", "PairClassification", "mteb's own"))


def test_an_instruction_that_no_method_reads_is_said_to_have_no_effect(encoder, caplog):
    encoder("sgpt").encode(["a"], instruction="Find it")
    assert "SGPT uses no instruction; the one given has no effect" in caplog.text
    caplog.clear()
    encoder("sgpt", instructions="e5")
    assert "sgpt uses no instruction; instructions=... has no effect" in caplog.text
    caplog.clear()
    encoder("e5_instruct", instructions="e5").encode(["a"], instruction="Find it")
    assert "instruction" not in caplog.text
