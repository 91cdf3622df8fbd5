"""Vectors of the demo model in float32 against a plain loop: one text, one pass, no padding.

The loop knows nothing of spans, batches or masks: it builds the official codes' strings or ids by
hand, opens attention with an explicit mask, as their authors did, and pools by slicing.
"""

import numpy as np
import pytest
import torch

TEXTS = [
    "A man is playing a guitar.",
    "Is it raining?",
    'He said "no" and left',
    "Numbers like 1,234 and 5.6; names like Ångström; 短い文 🙂",
    "one",
    "Repetition is the mother of learning, " * 12,
]
ASK = "Retrieve semantically similar text."


def ids(tokenizer, *parts):
    found = []
    for part in parts:
        found += (
            tokenizer(part, add_special_tokens=False)["input_ids"]
            if isinstance(part, str)
            else part
        )
    return found


def weighted(states):
    weights = torch.arange(1, len(states) + 1.0)[:, None]
    return (states * weights).sum(0) / weights.sum()


def prompteol(t, text):
    text = text if text[-1] in ".?\"'" else text + "."
    text = text.replace('"', "'")
    text = text[:-1] + "." if text[-1] == "?" else text
    return ids(t, f'This sentence : "{text}" means in one word:"')


BOS, EOS = [1], [2]
READ = {
    "cpt_text": lambda t, x: ids(t, BOS, x, EOS),
    "sgpt": lambda t, x: ids(t, x),
    "prompteol": prompteol,
    "echo": lambda t, x: ids(
        t, BOS, "Rewrite the following paragraph:", " " + x, ". The rewritten paragraph:", " " + x
    ),
    "repllama": lambda t, x: ids(t, "query: " + x, EOS),
    "udever": lambda t, x: ids(t, BOS, x, EOS),
    "e5_instruct": lambda t, x: ids(t, f"Instruct: {ASK}\nQuery: {x}", EOS),
    "llm2vec": lambda t, x: ids(t, f"{ASK} {x}"),
}
POOL = {
    "sgpt": lambda t, x, h: weighted(h),
    "echo": lambda t, x, h: h[-len(ids(t, " " + x)) :].mean(0),
    "llm2vec": lambda t, x, h: h[-len(ids(t, x)) :].mean(0),
}


@pytest.mark.parametrize("name", READ)
def test_vectors_equal_a_plain_loops(name, smollm2):
    encoder = smollm2(name)
    tokenizer, model = encoder.backbone.tokenizer, encoder.backbone.model
    vectors = encoder.encode(TEXTS, instruction=ASK)
    for text, vector in zip(TEXTS, vectors, strict=True):
        row = READ[name](tokenizer, text)
        mask = torch.zeros(1, 1, len(row), len(row)) if name == "llm2vec" else None
        with torch.inference_mode():
            states = model(torch.tensor([row]), attention_mask=mask).last_hidden_state[0]
        expected = POOL.get(name, lambda t, x, h: h[-1])(tokenizer, text, states).numpy()
        cosine = vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected)
        assert cosine >= 0.99999
        if not encoder.method.normalize:
            assert np.abs(vector - expected).max() < 2e-3 * np.abs(expected).max()


def test_the_baseline_row_is_what_sentence_transformers_gives(smollm2):
    from sentence_transformers import SentenceTransformer

    from methods import load_encoder

    encoder = load_encoder("sentence_encoder", model="minilm_l6", dtype="float32", cache=None)
    folder = encoder.backbone.model.config._name_or_path
    reference = SentenceTransformer(folder, device="cpu")  # no pooling files here: mean by default
    reference.max_seq_length = 256
    expected = reference.encode(TEXTS, normalize_embeddings=True)
    assert np.abs(encoder.encode(TEXTS) - expected).max() < 1e-5
