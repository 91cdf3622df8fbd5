"""How ids are built: joined or piece by piece, cut in the text alone."""

import pytest

from methods.backbone.tiny import make_byte_tokenizer
from methods.base import Inputs, Span, added_by, encode_spans, eos_ids, token_ids

TOKENIZER = make_byte_tokenizer()


def encode(*rows, max_length=None):
    return encode_spans(rows, tokenizer=TOKENIZER, max_length=max_length)


def decoded(inputs, row=0):
    return TOKENIZER.decode(inputs.ids[row])


def test_only_tokens_of_cut_spans_go_and_the_tail_stays():
    row = (Span("<<"), Span("abcdef", cut=True, joined=True), Span(">>", joined=True), Span((2,)))
    inputs = encode(row, max_length=8)
    assert decoded(inputs) == "<<abc>></s>"
    assert inputs.cut == {0}


def test_a_row_that_fits_is_not_cut():
    inputs = encode((Span("<"), Span("abc", cut=True)), max_length=4)
    assert decoded(inputs) == "<abc" and not inputs.cut


def test_a_limit_holds_for_its_span_alone():
    inputs = encode((Span("abcdef", cut=True, limit=2), Span("|"), Span("abcdef", limit=3)))
    assert decoded(inputs) == "ab|abc" and inputs.cut == {0}


def test_pooled_positions_of_a_joined_row_are_its_spans_own():
    row = (Span("ab", pooled=False), Span("cd", joined=True), Span("e", joined=True, pooled=False))
    assert encode(row).pool_mask == [[False, False, True, True, False]]


def test_a_row_without_tokens_is_read_as_the_bos():
    assert encode((Span(""),)).ids == [[TOKENIZER.bos_token_id]]


def test_a_row_whose_pooled_spans_are_empty_is_pooled_whole():
    assert encode((Span("ab", pooled=False), Span(""))).pool_mask == [[True, True]]


def test_a_template_longer_than_the_limit_is_an_error():
    with pytest.raises(ValueError, match="a template of 4 tokens does not fit max_length=3"):
        encode((Span("1234"), Span("text", cut=True)), max_length=3)


def test_what_a_tokenizer_adds_is_found_by_letting_it():
    from tokenizers.processors import TemplateProcessing

    assert added_by(TOKENIZER) == ((), ())
    wrapping = make_byte_tokenizer()
    wrapping.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert added_by(wrapping) == ((1,), (2,))


def test_tokens_that_the_vocabulary_lacks_are_named():
    with pytest.raises(ValueError, match=r"lacks \[X\], \[Y\]; an adapter that was trained with"):
        token_ids("a", "[X]", "[Y]", tokenizer=TOKENIZER)


def test_a_missing_eos_is_an_error_that_says_what_to_do():
    tokenizer = make_byte_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="has no EOS token"):
        eos_ids(tokenizer)


def test_inputs_refuse_a_row_with_nothing_to_pool():
    with pytest.raises(ValueError, match="row 1 has 2 ids and a pool mask of 2 positions with 0"):
        Inputs([[1], [1, 2]], [[True], [False, False]])
