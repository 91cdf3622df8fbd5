"""A tokenizer whose own ending is not its EOS, as Qwen3-Embedding's, and texts that are none."""

import pytest
from tokenizers.processors import TemplateProcessing

from methods.backbone.tiny import make_byte_tokenizer
from methods.base import Span, encode_spans, first_tokens, tokenize
from methods.config.resolve import build_method, compose
from tests.methods.readings import every_ending

ENDING, EOS = "<unk>", "</s>"


@pytest.fixture
def tokenizer():
    found = make_byte_tokenizer()
    end = found.convert_tokens_to_ids(ENDING)
    assert end != found.eos_token_id
    found.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {ENDING}", special_tokens=[(ENDING, end)]
    )
    return found


def method(name, **fields):
    return build_method(compose([f"method={name}"]).method, **fields)


@pytest.mark.parametrize(("name", "ending"), every_ending())
def test_a_row_ends_as_expected_and_a_token_left_out_is_logged_once(
    name, ending, tokenizer, caplog
):
    appended, ends_with = tokenizer.convert_tokens_to_ids(ENDING), ending.ends_with
    for _ in range(2):
        read = method(name, **ending.overrides).prepare_inputs
        for ids in read(["a"], tokenizer=tokenizer, instruction="Find it").ids:
            assert (ids[-1] == appended) == (appended in ids) == (ends_with == "tokenizer")
            assert (ids[-1] == tokenizer.eos_token_id) == (ends_with == "eos")
    logged = [(one.levelname, one.message) for one in caplog.records]
    assert len(logged) == (ends_with != "tokenizer")
    for level, message in logged:
        assert level == "WARNING" and f"ends a text with {ENDING} by itself" in message
        taken = EOS if ends_with == "eos" else "nothing"
        assert message.endswith(f"leaves that out and ends it with {taken}")


def test_a_tokenizer_that_ends_with_its_eos_logs_nothing(caplog):
    tokenizer = make_byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {EOS}", special_tokens=[(EOS, tokenizer.eos_token_id)]
    )
    method("repllama").prepare_inputs(["a"], tokenizer=tokenizer)
    assert not caplog.records


@pytest.mark.parametrize("name", ["sgpt", "llm2vec", "prompteol"])
def test_half_a_surrogate_pair_is_named(name):
    with pytest.raises(ValueError, match=r"text 1 has a lone surrogate \('.ud83d' at"):
        method(name).prepare_inputs(["x", "ab\ud83d"], tokenizer=make_byte_tokenizer())


def test_what_is_no_text_is_named():
    with pytest.raises(ValueError, match="text 1 is int, not a string"):
        tokenize(["a", 7], tokenizer=make_byte_tokenizer())


def test_a_texts_beginning_is_whole_characters():
    tokenizer = make_byte_tokenizer()
    assert first_tokens("ab短い文", 7, tokenizer=tokenizer) == "ab短"
    assert first_tokens("ab短い文", 8, tokenizer=tokenizer) == "ab短い"
    assert first_tokens("ab", 7, tokenizer=tokenizer) == "ab"


@pytest.mark.parametrize(
    "spans", [(Span((1,)), Span("b", joined=True)), (Span("a", limit=1), Span("b", joined=True))]
)
def test_a_joined_span_that_would_be_lost_is_refused(spans):
    with pytest.raises(ValueError, match="cannot be joined to"):
        encode_spans([spans], tokenizer=make_byte_tokenizer(), max_length=None)
