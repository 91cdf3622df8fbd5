"""What each method reads, spelt out from the official codes' rules; ids and pooled positions.

The tokenizer is one token a byte, so that ids can be read as text; `|` marks the pooled stretch.
"""

import pytest

from methods.backbone.tiny import byte_tokenizer
from methods.config.resolve import compose, method_of

ASK = "Find it."
CASES = [
    # method, overrides, side, text, what is read
    ("cpt_text", {}, None, "a b", "|<s>a b</s>|"),
    ("cpt_text", {}, "document", "a b", "|<s>a b</s>|"),
    ("sgpt", {}, None, " a b\n", "| a b\n|"),
    ("sgpt", {"template": "brackets"}, None, "a", "|[a]|"),
    ("sgpt", {"template": "brackets"}, "query", "a", "|[a]|"),
    ("sgpt", {"template": "brackets"}, "document", "a", "|{a}|"),
    ("prompteol", {}, None, "A dog", '|This sentence : "A dog." means in one word:"|'),
    ("prompteol", {}, None, "A dog?", '|This sentence : "A dog." means in one word:"|'),
    ("prompteol", {}, None, 'So "x"', '|This sentence : "So \'x\'" means in one word:"|'),
    ("prompteol", {}, None, "a_b.", '|This sentence : "a_b." means in one word:"|'),
    ("prompteol", {}, None, "", '|This sentence : "" means in one word:"|'),
    (
        "prompteol",
        {"demonstration": ["A man is smoking.", "Smoking"]},
        None,
        "A dog.",
        '|This sentence : "A man is smoking." means in one word:"Smoking".'
        'This sentence : "A dog." means in one word:"|',
    ),
    (
        "echo",
        {},
        None,
        "a b",
        "<s>Rewrite the following paragraph: a b. The rewritten paragraph:| a b|",
    ),
    (
        "echo",
        {"template": "instruct"},
        "query",
        "a b",
        "<s>Instruct:Find it.,\nQuery:a b\nQuery again:|a b</s>|",
    ),
    (
        "echo",
        {"template": "instruct"},
        "document",
        "a b",
        "<s>Document:a b\nDocument again:|a b</s>|",
    ),
    ("repllama", {}, None, " a ", "|query:  a </s>|"),
    ("repllama", {}, "document", " a ", "|passage: a</s>|"),
    ("udever", {}, "query", "a", "|<s>a</s>|"),
    ("e5_instruct", {}, None, "a", "|Instruct: Find it.\nQuery: a</s>|"),
    ("e5_instruct", {}, "query", "a", "|Instruct: Find it.\nQuery: a</s>|"),
    ("e5_instruct", {}, "document", " a ", "|a</s>|"),
    ("llm2vec", {}, None, "a b", "Find it. |a b|"),
    ("llm2vec", {}, "document", "a b", "|a b|"),
    ("llm2vec", {}, None, "", "|Find it. |"),
    ("sentence_encoder", {}, None, " a ", "|a|"),
    ("sentence_encoder", {"pooled": "cls"}, None, "ab", "|a|b"),
]


@pytest.mark.parametrize(("name", "overrides", "side", "text", "expected"), CASES)
def test_a_method_reads_and_pools_what_its_official_code_does(
    name, overrides, side, text, expected
):
    assert shown(name, text, side=side, overrides=overrides) == expected


CHAT = [
    (
        "meta-llama/Meta-Llama-3-8B-Instruct",
        "<|start_header_id|>user<|end_header_id|>\n\nFind it. | a<|eot_id|>|",
    ),
    ("mistralai/Mistral-7B-Instruct-v0.2", "[INST] Find it. | a [/INST]|"),
    ("princeton-nlp/Sheared-LLaMA-1.3B", "Find it. | a |"),
]


@pytest.mark.parametrize(("model", "expected"), CHAT)
def test_llm2vec_wraps_chat_models_by_name_and_pools_the_frames_tail(model, expected):
    assert shown("llm2vec", " a ", model=model) == expected


def test_llm2vec_shortens_long_texts_by_words_until_they_fit():
    # 20 words of 5 bytes and spaces: 119 tokens; int(20 * 50 / 119) = 8 words, 47 tokens.
    text = "\n".join(["abcde"] * 20)
    overrides = {"doc_max_length": 50, "max_length": 512}
    assert shown("llm2vec", text, side="document", overrides=overrides) == (
        "|" + " ".join(["abcde"] * 8) + "|"
    )


def test_llm2vec_does_not_lose_a_long_text_without_spaces():
    overrides = {"doc_max_length": 50}
    assert shown("llm2vec", "x" * 200, side="document", overrides=overrides) == f"|{'x' * 50}|"


def test_e5_cuts_the_texts_end_and_keeps_eos():
    expected = "|Instruct: Find it.\nQuery: aaaaaa</s>|"
    assert shown("e5_instruct", "a" * 99, overrides={"max_length": 33}) == expected


def test_echo_cuts_each_copy_alone():
    expected = "<s>Document:aaa\nDocument again:|aaa</s>|"
    overrides = {"template": "instruct", "max_length": 20}
    read = shown("echo", "a" * 25, side="document", overrides=overrides)
    assert read == expected.replace("aaa", "a" * 20)


def shown(name, text, *, side=None, overrides=None, model="tiny/random"):
    """What a method reads, as text, with bars around what it pools."""
    config = compose([f"method={name}"])
    method = method_of(config.method, **{k: _tuple(v) for k, v in (overrides or {}).items()})
    tokenizer = byte_tokenizer()
    tokenizer.name_or_path = model
    inputs = method.prepare_inputs([text], tokenizer=tokenizer, prompt_type=side, instruction=ASK)
    ids, mask = inputs.ids[0], inputs.pool_mask[0]
    first = mask.index(True)
    end = len(mask) - mask[::-1].index(True)
    assert all(mask[first:end])
    parts = [tokenizer.decode(part) for part in (ids[:first], ids[first:end], ids[end:])]
    return f"{parts[0]}|{parts[1]}|{parts[2]}"


def _tuple(value):
    return tuple(value) if isinstance(value, list) else value


MIXED = {
    "title": "t1 " + "短" * 300,
    "url": f"see https://x.org/{'a' * 900} for details",
    "late": "a b c " + "x" * 900 + " d e",
    "japanese": " ".join("短い" * 40 for _ in range(3)),
}


@pytest.mark.parametrize("text", MIXED.values(), ids=MIXED)
def test_llm2vec_keeps_its_tokens_of_a_text_whatever_its_words(text):
    read = shown("llm2vec", text, side="document", overrides={"doc_max_length": 100})
    kept = read.strip("|")
    assert text.startswith(kept) and 97 <= len(kept.encode()) <= 100


def test_llm2vec_texts_with_one_title_stay_different():
    texts = ["title " + "短" * 300, "title " + "文" * 300]
    assert shown("llm2vec", texts[0]) != shown("llm2vec", texts[1])


@pytest.mark.parametrize("words", [4, 7, 11, 19])
def test_llm2vec_cuts_words_as_the_official_loop_while_half_is_left(words):
    text = " ".join(["x" * words] * 60)
    official, length = text, len(text)
    while length > 100:  # the official code's loop, a byte a token
        parts = official.split()
        official = " ".join(parts[: int(len(parts) * 100 / min(length, 512))])
        length = len(official)
    assert length >= 50
    overrides = {"doc_max_length": 100}
    assert shown("llm2vec", text, side="document", overrides=overrides) == f"|{official}|"


def test_llm2vec_with_a_longer_doc_max_length_cuts_the_row_alone():
    overrides = {"doc_max_length": 100, "max_length": 60}
    read = shown("llm2vec", "ab\n" * 50, side="document", overrides=overrides)
    assert read == f"|{'ab' + chr(10)}" + "ab\n" * 19 + "|"
    assert shown("llm2vec", " " * 80, side="document", overrides=overrides) == f"|{' ' * 60}|"
    with pytest.raises(ValueError, match="doc_max_length is 0"):
        shown("llm2vec", "a", overrides={"doc_max_length": 0})
