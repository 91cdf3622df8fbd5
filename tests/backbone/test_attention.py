"""The probe, over random models of many architectures, padded and unpadded."""

import pytest
import torch

from methods.backbone.attention import attention_mode, explain_unsupported, supports_attention
from methods.backbone.loader import load_backbone
from tests.backbone.architectures import GPT, HEADS, SMALL, spec

BOTH = {
    "llama": SMALL,
    "mistral": SMALL,
    "mixtral": SMALL,
    "qwen2": SMALL,
    "qwen3": SMALL | HEADS,
    "gemma": SMALL | HEADS,
    "gemma2": SMALL | HEADS,  # eager only
    "gemma3_text": SMALL | HEADS,  # sliding windows
    "gpt2": GPT,  # learned positions
    "gpt_neox": SMALL,
    "gptj": GPT | {"rotary_dim": 4},  # eager only, ignores the keyword
    "opt": SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "phi3": SMALL,
    "falcon": SMALL,  # ignores the keyword
    "bloom": SMALL,  # ALiBi, ignores the keyword
    "stablelm": SMALL,  # silently causal with the keyword on unpadded batches
    "nemotron": SMALL,  # the same
    "olmo2": SMALL,
    "cohere": SMALL,
    "granite": SMALL,
    "smollm3": SMALL,
    "lfm2": SMALL,  # hybrid
}


@pytest.mark.parametrize("architecture", BOTH)
def test_an_architecture_obeys_both_attentions(architecture):
    backbone = load_backbone(spec(architecture, BOTH[architecture]))
    assert backbone.attentions == {"causal", "bidirectional"}


@pytest.mark.parametrize("architecture", ["gpt_neo", "openai-gpt"])
def test_an_architecture_that_cannot_is_refused_by_name(architecture):
    config = (
        GPT
        if architecture == "openai-gpt"
        else {
            **{k: SMALL[k] for k in ("vocab_size", "hidden_size", "max_position_embeddings")},
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
        }
    )
    backbone = load_backbone(spec(architecture, config))
    backbone.require_attention("causal")
    with pytest.raises(
        ValueError, match=r"attention=bidirectional does not work on \w*GPT\w*Model"
    ):
        backbone.require_attention("bidirectional")


def test_an_encoder_is_not_taken_for_causal():
    backbone = load_backbone(spec("bert", SMALL))
    with pytest.raises(ValueError, match="attention=causal does not work on BertModel"):
        backbone.require_attention("causal")


def test_attention_is_as_before_after_a_block():
    model = load_backbone(spec("llama", SMALL)).model
    ids = torch.arange(5, 15)[None]
    before = model(ids).last_hidden_state
    with attention_mode(model, "bidirectional"):
        inside = model(ids).last_hidden_state
    assert not torch.equal(inside, before)
    assert torch.equal(model(ids).last_hidden_state, before)
    assert "is_causal" not in vars(model.config)


def test_the_probe_is_not_fooled_by_a_model_that_ignores_the_wish(monkeypatch):
    from contextlib import nullcontext

    from methods.backbone import attention

    model = load_backbone(spec("llama", SMALL)).model
    monkeypatch.setattr(attention, "attention_mode", lambda *_: nullcontext())
    assert supports_attention(model, "causal")
    assert not supports_attention(model, "bidirectional")


MPT = {"vocab_size": 260, "d_model": 32, "n_heads": 4, "n_layers": 3, "max_seq_len": 64}


def test_a_model_that_raises_under_one_attention_is_loaded_with_the_other(caplog):
    caplog.set_level("INFO")
    backbone = load_backbone(spec("mpt", MPT))
    backbone.require_attention("causal")
    with pytest.raises(ValueError, match=r"bidirectional does not work on MptModel .* raises \w+:"):
        backbone.require_attention("bidirectional")
    assert "MptModel cannot attend with attention=bidirectional" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    ],
)
def test_running_out_of_memory_is_no_answer_of_the_probe(error):
    model = load_backbone(spec("llama", SMALL)).model

    def fail(*_args, **_kwargs):
        raise error

    handle = model.register_forward_pre_hook(fail)
    try:
        with pytest.raises(type(error)):
            explain_unsupported(model, "causal")
    finally:
        handle.remove()


def test_states_that_are_not_finite_prove_nothing():
    model = load_backbone(spec("llama", SMALL)).model
    before = model.norm.weight.clone()
    try:
        model.norm.weight.fill_(float("nan"))
        assert explain_unsupported(model, "causal") == "its hidden states are not finite"
    finally:
        model.norm.weight.copy_(before)
