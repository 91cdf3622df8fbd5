"""Why token ids differ is said from what is seen: each fault is made here, and named."""

import numpy as np
import pytest

from methods.interop.stages import EncoderStages, TextStages
from methods.interop.token_causes import explain_tokens

BOS, EOS, START, END = 1_200_001, 1_200_002, 1_200_003, 1_200_004
SPECIAL = {BOS: "<s>", EOS: "</s>", START: "<|im_start|>", END: "<|im_end|>"}
ROLES = {"bos": BOS, "eos": EOS, "pad": EOS}
TEXT = "a cat sleeps on the warm windowsill"
LONG = TEXT * 5


def spell(ids):
    return "".join(f"⟦{SPECIAL[id]}⟧" if id in SPECIAL else chr(id) for id in ids)


def letters(text):
    return [ord(letter) for letter in text]


def make(ids, attended=None):
    attended = attended or [True] * len(ids)
    return TextStages(prepared=spell(ids), ids=ids, attended=attended)


def explain(ids, others, text=TEXT, **more):
    x, y = make(ids), make(others, **more)
    encoders = [
        EncoderStages("", "", np.ones((1, 2)), [one], special=SPECIAL, roles=ROLES, decode=spell)
        for one in (x, y)
    ]
    return explain_tokens(x, y, *encoders, text)


T = letters(TEXT)
CHAT = [START, *letters("system\nBe kind"), END, START, *letters("user\n")]
FAULTS = {
    "an EOS is missing": (T + [EOS], T, TEXT, ["EOS"], "A ends with '⟦</s>⟧', B does not"),
    "a BOS is missing": (T, [BOS, *T], TEXT, ["BOS"], "B has 1 token more at the front, '⟦<s>⟧'"),
    "a chat template": (
        *(T, [*CHAT, *T, END, *letters("\n")], TEXT, ["chat template"]),
        "B has 22 tokens more at the front, '⟦<|im_start|>⟧system",
    ),
    "a chat template behind a BOS of both": (
        *([BOS, *T, EOS], [BOS, *CHAT, *T, END], TEXT, ["chat template"]),
        "B has 22 tokens more at the front",
    ),
    "a prompt": (
        *([*letters("query: "), *T], T, TEXT, ["prompt"]),
        "A has 7 tokens more at the front, 'query: '",
    ),
    "two prompts": (
        *(letters("query: ") + T, letters("passage: ") + T, TEXT, ["prompt"]),
        "A begins with 'query', B with 'passage'",
    ),
    "truncation": (
        *(letters(LONG), letters(LONG[:50]), LONG, ["truncation"]),
        "B is cut at 50 tokens, A has 125 tokens more",
    ),
    "truncation before an EOS of both": (
        *(letters(LONG[:90]) + [EOS], letters(LONG[:50]) + [EOS], LONG, ["truncation"]),
        "B is cut at 51 tokens, A has 40 tokens more",
    ),
    "truncation at one length, an EOS in the place of a token": (
        *(letters(LONG[:49]) + [EOS], letters(LONG[:50]), LONG, ["EOS"]),
        "A ends with",
    ),
    "truncation and a missing EOS": (
        *(letters(LONG[:90]) + [EOS], letters(LONG[:50]), LONG, ["EOS", "truncation"]),
        "A ends with",
    ),
    "the end of a template": (
        *(T + letters(' means in one word:"'), T, TEXT, ["template"]),
        "A has 20 tokens more at the end, ' means in one word:\"'",
    ),
    "blanks around": (
        *(letters(f"  {TEXT} "), T, f"  {TEXT} ", ["blanks"]),
        "the texts differ in blanks and line breaks only: A '  a cat",
    ),
    "line breaks": (
        *(letters("one\ntwo") + [EOS], letters("one two") + [EOS], "one\ntwo", ["blanks"]),
        "A 'one\\ntwo', B 'one two'",
    ),
    "lower case": (letters("A Cat"), letters("a cat"), "A Cat", ["case"], "in case only"),
    "Unicode": (letters("ﬁne"), letters("fine"), "ﬁne", ["Unicode"], "Unicode form only"),
    "a special token in the text": (
        *(letters("a </s> b"), [*letters("a "), EOS, *letters(" b")], "a </s> b", ["literal"]),
        "B reads '</s>' in the text as a special token",
    ),
    "an empty text": ([BOS], [], "", ["empty"], "for an empty text A has '⟦<s>⟧', B no token"),
    "an empty text, another token": ([EOS], [BOS], "", ["empty"], "B '⟦<s>⟧'"),
    "other text": (letters("abcd"), letters("abxy"), "abcd", ["other"], "part at position 2"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault):
    ids, others, text, kinds, sentence = FAULTS[fault]
    causes = explain(ids, others, text)
    assert [cause.kind for cause in causes] == kinds, causes
    assert sentence in causes[0].sentence


@pytest.mark.parametrize("fault", [name for name in FAULTS if "part at" not in FAULTS[name][4]])
def test_a_fault_is_named_whichever_side_has_it(fault):
    ids, others, text, kinds, _ = FAULTS[fault]
    assert [cause.kind for cause in explain(others, ids, text)] == kinds


def test_another_tokenizer_is_named_where_both_spell_one_text():
    x, y = (
        TextStages(prepared="abc", ids=ids, attended=[True] * len(ids)) for ids in ([1], [2, 3])
    )
    encoders = [EncoderStages("", "", np.ones((1, 2)), [one]) for one in (x, y)]
    assert [cause.kind for cause in explain_tokens(x, y, *encoders, "abc")] == ["tokenizer"]


def test_padding_is_no_token_and_an_error_is_shown():
    padded = [*T, EOS, EOS, EOS]
    seen = [True] * (len(T) + 1) + [False] * 2
    assert [c.kind for c in explain(T, padded, attended=seen)] == ["EOS"]
    x, y = make(T), TextStages(fault="RuntimeError: too long")
    encoders = [EncoderStages("", "", np.ones((1, 2)), [one]) for one in (x, y)]
    (cause,) = explain_tokens(x, y, *encoders, TEXT)
    assert cause.sentence == f"for the text {TEXT!r} B raises RuntimeError: too long"
