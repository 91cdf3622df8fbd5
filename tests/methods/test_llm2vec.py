"""How LLM2Vec shortens a long text: by words as the official code does, else by tokens."""

import pytest

from tests.methods.readings import Read, shown


def llm2vec(text, side="document", **overrides):
    return shown("llm2vec", Read(text=text, expected="", side=side, overrides=overrides))


def test_llm2vec_shortens_long_texts_by_words_until_they_fit():
    # 20 words of 5 bytes and spaces: 119 tokens; int(20 * 50 / 119) = 8 words, 47 tokens.
    text = "\n".join(["abcde"] * 20)
    read = llm2vec(text, doc_max_length=50, max_length=512)
    assert read == "|" + " ".join(["abcde"] * 8) + "|"


def test_llm2vec_does_not_lose_a_long_text_without_spaces():
    assert llm2vec("x" * 200, doc_max_length=50) == f"|{'x' * 50}|"


MIXED = {
    "title": "t1 " + "短" * 300,
    "url": f"see https://x.org/{'a' * 900} for details",
    "late": "a b c " + "x" * 900 + " d e",
    "japanese": " ".join("短い" * 40 for _ in range(3)),
}


@pytest.mark.parametrize("text", MIXED.values(), ids=MIXED)
def test_llm2vec_keeps_its_tokens_of_a_text_whatever_its_words(text):
    read = llm2vec(text, doc_max_length=100)
    kept = read.strip("|")
    assert text.startswith(kept) and 97 <= len(kept.encode()) <= 100


def test_llm2vec_texts_with_one_title_stay_different():
    texts = ["title " + "短" * 300, "title " + "文" * 300]
    assert llm2vec(texts[0], side=None) != llm2vec(texts[1], side=None)


@pytest.mark.parametrize("words", [4, 7, 11, 19])
def test_llm2vec_cuts_words_as_the_official_loop_while_half_is_left(words):
    text = " ".join(["x" * words] * 60)
    official, length = text, len(text)
    while length > 100:  # the official code's loop, a byte a token
        parts = official.split()
        official = " ".join(parts[: int(len(parts) * 100 / min(length, 512))])
        length = len(official)
    assert length >= 50
    assert llm2vec(text, doc_max_length=100) == f"|{official}|"


def test_llm2vec_with_a_longer_doc_max_length_cuts_the_row_alone():
    overrides = {"doc_max_length": 100, "max_length": 60}
    read = llm2vec("ab\n" * 50, **overrides)
    assert read == f"|{'ab' + chr(10)}" + "ab\n" * 19 + "|"
    assert llm2vec(" " * 80, **overrides) == f"|{' ' * 60}|"
    with pytest.raises(ValueError, match="doc_max_length is 0"):
        llm2vec("a", doc_max_length=0)
