"""The model that embeds generates too, as transformers does, and its vectors stay as they are."""

import threading

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from methods import load_encoder
from methods.backbone.changes import differs_from_loaded
from methods.backbone.generation import encode_prompts, generate_ids
from methods.backbone.loader import build_backbone
from tests.backbone.test_merge import save
from tests.backbone.test_verify import saved, spec

PROMPTS = ["a dog", "the sun is hot today", "x"]
TEXTS = ["a cat sleeps", "ice is cold and the sea is deep"]


def generate_by_transformers(model, prompts, number):
    """What transformers' own model writes after each prompt alone, greedily, without a cache's
    batch or padding."""
    found = []
    for ids in prompts:
        ids_BL = torch.tensor([ids])
        written = model.generate(
            ids_BL,
            attention_mask=torch.ones_like(ids_BL),
            max_new_tokens=number,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
        )
        found.append(written[0, len(ids) :].tolist())
    return found


def cut(written, backbone):
    end = backbone.tokenizer.eos_token_id
    return [ids[: ids.index(end)] if end in ids else ids for ids in written]


def encode(folder, **more):
    return load_encoder("sgpt", model=str(folder), dtype="float32", cache=None, **more)


@pytest.mark.parametrize("linears", ["onednn", "torch"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ["llama", "gemma3_text", "gpt_neox", "gpt2"])
def test_tokens_are_those_of_transformers(architecture, tied, linears, tmp_path):
    saved(tmp_path, architecture, tie_word_embeddings=tied)
    backbone = build_backbone(spec(tmp_path, linears=linears))
    prompts = encode_prompts(backbone.tokenizer, PROMPTS, chat=False)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    expected = generate_by_transformers(whole, prompts, 9)
    assert generate_ids(backbone, prompts, max_new_tokens=9) == cut(expected, backbone)


def test_vectors_are_the_same_before_and_after_and_while_it_generates(tmp_path):
    saved(tmp_path)
    for attention in ("causal", "bidirectional"):
        encoder = encode(tmp_path, attention=attention)
        before = encoder.encode(TEXTS)
        alone = encoder.backbone.generate(PROMPTS, max_new_tokens=7)
        assert np.array_equal(encoder.encode(TEXTS), before)
        assert not differs_from_loaded(encoder.backbone.model)  # the embedding cache goes on
        found: list[list[str]] = []

        def generate(encoder=encoder, found=found):
            found.append(encoder.backbone.generate(PROMPTS, max_new_tokens=7))

        threads = [threading.Thread(target=generate) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert all(np.array_equal(encoder.encode(TEXTS), before) for _ in range(9))
        for thread in threads:
            thread.join()
        assert found == [alone, alone]


def test_no_weight_is_held_twice(tmp_path):
    saved(tmp_path, tie_word_embeddings=True)
    backbone = build_backbone(spec(tmp_path, linears="torch"))
    before = {p.data_ptr() for p in backbone.model.parameters()}
    backbone.generate(PROMPTS, max_new_tokens=1)
    whole, _ = vars(backbone)["_language_model"]
    assert {p.data_ptr() for p in whole.parameters()} == before


def test_a_small_budget_of_tokens_changes_no_token(tmp_path):
    saved(tmp_path)
    backbone = build_backbone(spec(tmp_path))
    expected = backbone.generate(PROMPTS, max_new_tokens=5)
    backbone.limit_batches(8)
    assert backbone.generate(PROMPTS, max_new_tokens=5) == expected


def test_a_seed_draws_the_same_tokens_and_leaves_torchs_own_alone(tmp_path):
    saved(tmp_path)
    backbone = build_backbone(spec(tmp_path))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    options = {"max_new_tokens": 12, "temperature": 1.0}
    one, again, other = (backbone.generate(PROMPTS, seed=s, **options) for s in (1, 1, 2))
    assert one == again != other
    assert torch.equal(torch.rand(1), expected)


def make_adapter(folder, **settings):
    model = saved(folder / "base")
    target = {"target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM", **settings}
    save(model, folder / "adapter", **target)
    return folder / "base", folder / "adapter"


def test_adapters_are_switched_off_and_on(tmp_path):
    base, adapter = make_adapter(tmp_path)
    plain = encode(base)
    of_base, written_by_base = (
        plain.encode(TEXTS),
        plain.backbone.generate(PROMPTS, max_new_tokens=9),
    )
    merged = encode(base, adapter=adapter).encode(TEXTS)
    encoder = encode(base, adapter=adapter, merge_adapters=False)
    before = encoder.encode(TEXTS)
    assert np.allclose(before, merged, atol=1e-5) and not np.allclose(before, of_base, atol=1e-3)
    backbone = encoder.backbone
    assert backbone.generate(PROMPTS, max_new_tokens=9, adapters=False) == written_by_base
    assert np.array_equal(encoder.encode(TEXTS), before)
    prompts = encode_prompts(backbone.tokenizer, PROMPTS, chat=False)
    on = generate_ids(backbone, prompts, max_new_tokens=9)
    whole = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    by_peft = PeftModel.from_pretrained(whole, adapter).merge_and_unload().eval()
    assert on == cut(generate_by_transformers(by_peft, prompts, 9), backbone)
    assert np.array_equal(encoder.encode(TEXTS), before)
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert backbone.identity["merged"] is False and "merged" not in plain.backbone.identity
    assert backbone.linear_weights > plain.backbone.linear_weights


def test_what_cannot_be_switched_off_says_so(tmp_path):
    base, adapter = make_adapter(tmp_path)
    merged = encode(base, adapter=adapter).backbone
    with pytest.raises(ValueError, match="were merged into its weights.* load it with merge_adap"):
        merged.generate(PROMPTS, adapters=False)
    assert merged.generate(PROMPTS, max_new_tokens=2)
    base, rows = make_adapter(tmp_path / "rows", trainable_token_indices=[3, 8])
    with pytest.raises(ValueError, match="cannot be switched off, .*its trainable_token_indices"):
        encode(base, adapter=rows, merge_adapters=False)
    with pytest.raises(ValueError, match="takes one adapter, and these are 2"):
        encode(tmp_path / "base", adapter=[adapter, rows], merge_adapters=False)


def test_without_adapters_there_is_nothing_to_switch(encoder):
    backbone = encoder("sgpt").backbone
    assert backbone.generate(PROMPTS, adapters=False) == backbone.generate(PROMPTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; it is 1 or more"),
        ({"temperature": -1}, "temperature is -1; it is 0 or more"),
        ({"max_new_tokens": 5000}, "do not fit into the model's 4096 positions"),
        ({"chat": True}, "has no chat template; use chat=False"),
    ],
)
def test_what_cannot_be_generated_is_refused(options, message, encoder):
    with pytest.raises(ValueError, match=message):
        encoder("sgpt").backbone.generate(["a"], **options)


def test_an_encoder_that_has_no_head_is_refused(tmp_path):
    from transformers import AutoModel

    saved(tmp_path, "bert", kind=AutoModel)
    with pytest.raises(ValueError, match="BertModel|attention=causal"):
        build_backbone(spec(tmp_path)).generate(["a"])


def test_a_real_model_writes_what_transformers_writes(smollm2):
    encoder = smollm2("sgpt")
    backbone = encoder.backbone
    before = encoder.encode(TEXTS)
    prompts = encode_prompts(backbone.tokenizer, ["The capital of France is", "Water"], chat=False)
    location = backbone.spec.source.fetch().location
    whole = AutoModelForCausalLM.from_pretrained(location, dtype=torch.float32).eval()
    expected = generate_by_transformers(whole, prompts, 8)
    assert generate_ids(backbone, prompts, max_new_tokens=8) == cut(expected, backbone)
    assert np.array_equal(encoder.encode(TEXTS), before)
