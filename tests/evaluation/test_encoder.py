"""The encoder people use: order, refusals, normalisation, task types."""

import mteb
import numpy as np
import pytest

from methods.evaluation.instructions import Instructions


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


@pytest.mark.parametrize("bad", ["a text", ["a", None], [b"a"]])
def test_what_is_no_list_of_texts_is_refused(bad, encoder):
    with pytest.raises(ValueError, match="list of texts|not a string"):
        encoder("sgpt").encode(bad)


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
