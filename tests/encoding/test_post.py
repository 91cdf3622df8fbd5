"""Cutting and quantising: by hand, as sentence-transformers does it, and what is refused."""

import numpy as np
import pytest
from sentence_transformers.util.quantization import quantize_embeddings

from methods import load_encoder
from methods.encoding.post import Corpus, Post, fit_ranges, parse_post

VECTORS = np.random.default_rng(0).normal(size=(50, 24)).astype(np.float32)
TEXTS = ["a dog", "a cat and a dog", "the sun is hot today"]


@pytest.fixture
def corpus(tmp_path):
    file = tmp_path / "some.txt"
    file.write_text("\n".join(f"line {n} of {n * n} words, {chr(97 + n % 26)}" for n in range(120)))
    return str(file)


def test_steps_by_hand():
    post = parse_post("dims:8+int8")
    assert post.name == "dims:8+int8" and post.quantization == "int8" and post.is_fitted
    assert parse_post(None) == parse_post("none") == Post() and not Post().name
    ranges = np.array([[0.0] * 8, [255.0] * 8], np.float32)
    codes = post.quantize(np.array([[0, 0.9, 1, 254.5, 255, 300, -5, 128]], np.float32), ranges)
    assert codes.tolist() == [[-128, -128, -127, 126, 127, 127, -128, 0]]
    assert post.restore(codes, ranges).tolist() == [
        [0.5, 0.5, 1.5, 254.5, 255.5, 255.5, 0.5, 128.5]
    ]
    binary = parse_post("binary")
    packed = binary.quantize(np.array([[1, -1, 0, 2, 0, 0, 0, -3]], np.float32), None)
    assert packed.dtype == np.uint8 and packed.tolist() == [[0b10010000]]
    assert binary.restore(packed, None).tolist() == [[1, -1, -1, 1, -1, -1, -1, -1]]
    assert parse_post("dims:3").transform(VECTORS).shape == (50, 3)


def test_codes_are_those_of_sentence_transformers():
    ranges = fit_ranges(VECTORS)
    ours = parse_post("int8").quantize(VECTORS, ranges)
    assert np.array_equal(ours, quantize_embeddings(VECTORS, "int8", ranges=ranges))
    ours = parse_post("binary").quantize(VECTORS, None)
    assert np.array_equal(ours, quantize_embeddings(VECTORS, "ubinary"))


def test_a_dimension_that_is_constant_is_restored():
    vectors = VECTORS.copy()
    vectors[:, 5] = 0.25
    post, ranges = parse_post("int8"), fit_ranges(vectors)
    again = post.restore(post.quantize(vectors, ranges), ranges)
    assert np.abs(again - vectors).max() <= (ranges[1] - ranges[0]).max() / 255
    assert (again[:, 5] == 0.25).all()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("int", "post 'int' is unknown; valid: dims:K, int8, binary, .*did you mean int8"),
        ("dims", "dims takes a number of dimensions"),
        ("dims:0", "dims takes a number of dimensions, 1 or more"),
        ("int8:4", "int8 takes no number; write post=int8"),
        ("int8+dims:4", "int8 makes codes, which no step takes; write it last"),
        ("int8+binary", "quantises twice; write int8 or binary"),
        ("dims:8+dims:4", "has dims twice"),
        (256, "post 256 is not valid; it takes text"),
    ],
)
def test_a_post_that_is_none_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        parse_post(value)


def test_more_dimensions_than_there_are_and_bytes_that_are_not_full_are_refused(encoder):
    with pytest.raises(ValueError, match="dims:99 asks for more dimensions than the 32"):
        encoder("sgpt", post="dims:99").encode(TEXTS)
    with pytest.raises(ValueError, match="12 are no multiple of 8; cut them: post=dims:8"):
        encoder("sgpt", post="dims:12+binary").encode(TEXTS)


def test_an_encoder_returns_codes_and_restores_vectors(encoder, corpus):
    plain = encoder("sgpt", normalize=True).encode(TEXTS)
    cut = encoder("sgpt", normalize=True, post="dims:16").encode(TEXTS)
    raw = encoder("sgpt").encode(TEXTS)[:, :16]
    assert np.allclose(cut, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)
    quantized = encoder("sgpt", normalize=True, post="int8", fit_on=corpus)
    codes = quantized.encode(TEXTS)
    assert codes.dtype == np.int8 and codes.shape == plain.shape
    low, high = quantized.ranges
    inside = np.clip(plain, low, high)
    assert np.abs(quantized.restore(codes) - inside).max() <= ((high - low) / 255).max() * 0.51
    signs = encoder("sgpt", post="binary")
    assert np.array_equal(signs.restore(signs.encode(TEXTS)) > 0, encoder("sgpt").encode(TEXTS) > 0)


def test_ranges_are_of_the_named_corpus_and_not_of_the_texts(encoder, corpus, tmp_path):
    one = encoder("sgpt", post="int8", fit_on=corpus)
    codes = one.encode(TEXTS)
    assert np.array_equal(one.encode(TEXTS[:1]), codes[:1])
    usage = one.shared.usage
    assert usage.texts == 4, "the corpus is no part of what was asked for"
    other = tmp_path / "other.jsonl"
    other.write_text('{"text": "one"}\n{"text": "two words"}\n')
    again = encoder("sgpt", post="int8", fit_on=str(other))
    assert not np.array_equal(again.ranges, one.ranges)
    names = {e.mteb_model_meta.experiment_kwargs["digest"] for e in (one, again, encoder("sgpt"))}
    assert len(names) == 3
    copy = tmp_path / "copy.txt"
    copy.write_text((tmp_path / "some.txt").read_text())
    same = encoder("sgpt", post="int8", fit_on=str(copy))
    assert same.mteb_model_meta.experiment_kwargs == one.mteb_model_meta.experiment_kwargs


def test_a_corpus_that_cannot_be_read_is_named(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("one\n\n")
    tiny = {"model": "tiny", "cache": None, "post": "int8"}
    with pytest.raises(ValueError, match="fit_on=nowhere is unknown; valid: wikipedia, or a file"):
        load_encoder("sgpt", **tiny, fit_on="nowhere")
    with pytest.raises(ValueError, match="row 1 has no text in a column text but ''"):
        load_encoder("sgpt", **tiny, fit_on=str(empty))
    with pytest.raises(ValueError, match="an encoder has one post"):
        load_encoder("sgpt", **{**tiny, "post": ["int8", "binary"]})


def test_without_a_post_an_encoder_is_named_as_before(encoder):
    assert "post" not in encoder("sgpt").mteb_model_meta.experiment_kwargs
    stated = encoder("sgpt", post="dims:8").mteb_model_meta.experiment_kwargs
    assert stated["post"] == "dims:8"
    assert Post((("dims", 8),), Corpus("x", ("a",))).describe() == {
        "steps": "dims:8",
        "fitted_on": None,
    }
