"""Adapters: merged in order, refused when they are another model's."""

import warnings

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from methods.backbone.loader import BackboneSpec, load_backbone
from methods.backbone.sources import Random
from methods.backbone.tiny import make_byte_tokenizer

LORA = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"])


def adapter(encoder, folder, *, seed=0, headed=False, tokens=()):
    """A LoRA of random rows for the tiny model, saved as the papers' codes save theirs."""
    loaded = encoder("sgpt", dtype="float32")
    torch.manual_seed(seed)
    config = loaded.backbone.model.config
    model = AutoModelForCausalLM.from_config(config)
    model.model.load_state_dict(loaded.backbone.model.state_dict())
    inner = model if headed else model.model
    settings = LORA
    if tokens:
        tokenizer = make_byte_tokenizer()
        tokenizer.add_tokens(list(tokens), special_tokens=True)
        inner.resize_token_embeddings(len(tokenizer))
        tokenizer.save_pretrained(folder)
        settings = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    wrapped = get_peft_model(inner, settings)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    wrapped.save_pretrained(folder)
    merged = wrapped.merge_and_unload()
    return merged.model if headed else merged


@pytest.mark.parametrize("headed", [False, True])
def test_an_adapter_gives_the_vectors_of_the_merged_model(encoder, tmp_path, headed):
    merged = adapter(encoder, tmp_path, headed=headed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # none of another library reaches the user
        loaded = encoder("sgpt", adapter=str(tmp_path))
    assert not np.allclose(loaded.encode(["a text"]), encoder("sgpt").encode(["a text"]), atol=1e-3)
    ids = torch.tensor([loaded.backbone.tokenizer("a text")["input_ids"]])
    with torch.inference_mode():
        expected = merged.eval()(ids).last_hidden_state[0]
    weights = torch.arange(1, len(expected) + 1.0)[:, None]
    expected = ((expected * weights).sum(0) / weights.sum()).numpy()
    assert np.allclose(loaded.encode(["a text"])[0], expected, atol=1e-4)


def test_adapters_are_merged_in_the_order_given_and_known_by_it(encoder, tmp_path):
    adapter(encoder, tmp_path / "one", seed=1)
    adapter(encoder, tmp_path / "two", seed=2)
    both = encoder("sgpt", adapter=[str(tmp_path / "one"), str(tmp_path / "two")])
    one = encoder("sgpt", adapter=str(tmp_path / "one"))
    assert len(both.backbone.identity["adapters"]) == 2
    assert both.backbone.identity["adapters"][0] == one.backbone.identity["adapters"][0]
    assert not np.allclose(both.encode(["a"]), one.encode(["a"]), atol=1e-3)


def test_files_of_other_programs_beside_an_adapter_are_left_alone(encoder, tmp_path):
    adapter(encoder, tmp_path / "one")
    (tmp_path / "one" / "training.json").write_text('{"epochs": 3}')
    (tmp_path / "one" / "below" / "my_notes").mkdir(parents=True)
    loaded = encoder("sgpt", adapter=str(tmp_path / "one"))
    assert len(loaded.backbone.identity["adapters"]) == 1


def test_new_tokens_come_with_their_adapter(encoder, tmp_path):
    with pytest.raises(ValueError, match=r"delimiters=new needs \[SOS\].*adapter=PATH"):
        encoder("cpt_text", delimiters="new")
    adapter(encoder, tmp_path, tokens=["[SOS]", "[EOS]", "{SOS}", "{EOS}"])
    loaded = encoder("cpt_text", delimiters="new", adapter=str(tmp_path))
    query, document = loaded.encode(["a"]), loaded.encode(["a"], prompt_type="document")
    assert not np.allclose(query, document, atol=1e-3)
    with pytest.raises(ValueError, match=r"lacks \[BOQ\]"):
        encoder("udever", delimiters="new", adapter=str(tmp_path)).encode(["a"])


def test_an_adapter_of_another_model_is_refused(encoder, tmp_path):
    adapter(encoder, tmp_path)
    other = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 260}
    spec = BackboneSpec(
        name="tiny/other", source=Random(config=other), adapters=(str(tmp_path),), dtype="float32"
    )
    with pytest.raises(ValueError, match="does not fit LlamaModel with 2 layers of width 64"):
        load_backbone(spec)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "adapter_model.safetensors").unlink(), "has no adapter_model.safetensors"),
        (
            lambda f: (f / "adapter_model.safetensors").write_bytes(
                (f / "adapter_model.safetensors").read_bytes()[:500]
            ),
            "may be cut short",
        ),
        (lambda f: (f / "adapter_config.json").unlink(), "is no adapter"),
        (lambda f: (f / "adapter_config.json").write_text("[]"), "is not a LoRA"),
        (lambda f: (f / "training.json").write_text("[1]"), "training.json holds list"),
    ],
)
def test_a_spoilt_adapter_is_refused(encoder, tmp_path, spoil, told):
    adapter(encoder, tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=told):
        encoder("sgpt", adapter=str(tmp_path))
