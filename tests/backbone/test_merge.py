"""A LoRA folder gives what PEFT's own merged model gives, whatever it was saved around."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

from methods.backbone.merge import merge_adapter
from methods.backbone.tiny import make_byte_tokenizer
from tests.backbone.architectures import GPT, HEADS, SMALL

ARCHITECTURES = {
    "llama": (SMALL, ["q_proj", "v_proj", "down_proj"]),
    "mistral": (SMALL, ["q_proj", "v_proj", "down_proj"]),
    "qwen3": (SMALL | HEADS, ["q_proj", "v_proj", "down_proj"]),
    "gemma3_text": (SMALL | HEADS, ["q_proj", "v_proj", "down_proj"]),
    "gpt_neox": (SMALL, ["query_key_value", "dense_4h_to_h"]),
    "gpt2": (GPT, ["c_attn", "c_proj"]),
    "bloom": (SMALL, ["query_key_value", "dense_4h_to_h"]),
    "falcon": (SMALL, ["query_key_value", "dense_4h_to_h"]),
}
KINDS = {
    None: AutoModel,
    "FEATURE_EXTRACTION": AutoModel,
    "CAUSAL_LM": AutoModelForCausalLM,
    "SEQ_CLS": AutoModelForSequenceClassification,
}
IDS = torch.arange(5, 25)[None]
FILE = "adapter_model.safetensors"


def body(architecture, kind=AutoModelForCausalLM, config=None, vocabulary=None):
    """A model of random weights, the same body whatever its head."""
    config = AutoConfig.for_model(architecture, **(config or ARCHITECTURES[architecture][0]))
    torch.manual_seed(0)
    inner = AutoModel.from_config(config)
    whole = kind.from_config(config)
    own = whole if type(whole) is type(inner) else getattr(whole, whole.base_model_prefix)
    own.load_state_dict(inner.state_dict())
    if vocabulary:
        whole.resize_token_embeddings(vocabulary, mean_resizing=False)
    return whole.eval()


def states(model):
    with torch.inference_mode():
        inner = getattr(model, model.base_model_prefix, model)
        return inner(IDS, use_cache=False).last_hidden_state


def save(model, folder, **settings):
    """An adapter of random values around a model, saved by PEFT."""
    wrapped = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, **settings))
    torch.manual_seed(1)
    for _, parameter in wrapped.named_parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn_like(parameter) * 0.1
    wrapped.save_pretrained(folder)


def merged_by_us(architecture, folder, *, tokenizer=None, config=None):
    model = body(architecture, AutoModel, config)
    model, _ = merge_adapter(model, tokenizer or make_byte_tokenizer(), str(folder))
    return states(model.eval())


def merged_by_peft(architecture, folder, *, kind=AutoModelForCausalLM, vocabulary=None):
    model = PeftModel.from_pretrained(body(architecture, kind, vocabulary=vocabulary), folder)
    return states(model.merge_and_unload().eval())


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_lora_gives_what_pefts_merged_model_gives(architecture, task, tmp_path, record_property):
    targets = ARCHITECTURES[architecture][1]
    save(body(architecture, KINDS[task]), tmp_path, task_type=task, target_modules=targets)
    expected = merged_by_peft(architecture, tmp_path, kind=KINDS[task])
    found = merged_by_us(architecture, tmp_path)
    difference = float((found - expected).abs().max())
    record_property("difference", difference)
    assert difference <= 1e-5
    assert not torch.allclose(found, states(body(architecture, AutoModel)), atol=1e-3)


VARIANTS = {
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "ranks": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {r"model\.layers\.1\..*": 3}},
    "one path": {"target_modules": ["model.layers.1.self_attn.q_proj"]},
    "a pattern": {"target_modules": r"model\.layers\.\d+\.self_attn\.(q|k)_proj"},
    "all linear": {"target_modules": "all-linear"},
    "some layers": {"layers_to_transform": [0, 2]},
    "layers by pattern": {"layers_to_transform": [1], "layers_pattern": "layers"},
    "saved modules": {"modules_to_save": ["embed_tokens", "norm"]},
    "a saved head": {"modules_to_save": ["lm_head"]},
    "lora on the head": {"target_modules": ["q_proj", "lm_head"]},
    "trained rows": {"trainable_token_indices": [3, 8]},
    "named rows": {"trainable_token_indices": {"embed_tokens": [3, 8]}},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "excluded": {"exclude_modules": ["model.layers.0.self_attn.q_proj"]},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_lora_gives_what_peft_gives(variant, tmp_path):
    settings = {"target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
    save(body("llama"), tmp_path, **(settings | VARIANTS[variant]))
    expected = merged_by_peft("llama", tmp_path)
    assert torch.allclose(merged_by_us("llama", tmp_path), expected, atol=1e-5)
    assert not torch.allclose(expected, states(body("llama", AutoModel)), atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("gpt2", {"bias": "all", "task_type": "CAUSAL_LM"}),
        ("gpt2", {"bias": "lora_only", "fan_in_fan_out": True}),
        ("gpt2", {"lora_bias": True}),
        ("gpt_neox", {"modules_to_save": ["embed_in", "embed_out"], "task_type": "CAUSAL_LM"}),
        ("bloom", {"target_modules": ["word_embeddings", "dense"], "task_type": "CAUSAL_LM"}),
        ("falcon", {"target_modules": r"transformer\.h\.[01]\..*dense", "task_type": "CAUSAL_LM"}),
        ("gpt2", {"layers_to_transform": [1], "layers_pattern": "h", "task_type": "CAUSAL_LM"}),
    ],
)
def test_variants_under_other_names_too(architecture, settings, tmp_path):
    settings = {"target_modules": ARCHITECTURES[architecture][1], "task_type": None} | settings
    kind = KINDS[settings["task_type"]]
    save(body(architecture, kind), tmp_path, **settings)
    expected = merged_by_peft(architecture, tmp_path, kind=kind)
    assert torch.allclose(merged_by_us(architecture, tmp_path), expected, atol=1e-5)
    assert not torch.allclose(expected, states(body(architecture, AutoModel)), atol=1e-4)


@pytest.mark.parametrize("brought", ["a tokenizer", "rows alone"])
@pytest.mark.parametrize("rows", [{"modules_to_save": ["embed_tokens"]}, {"saved": True}])
def test_rows_of_new_tokens_come_with_their_adapter(tmp_path, brought, rows):
    model = body("llama", vocabulary=264)
    wrapped = get_peft_model(
        model,
        LoraConfig(
            target_modules=["q_proj"],
            task_type="CAUSAL_LM",
            modules_to_save=rows.get("modules_to_save"),
        ),
    )
    for _, parameter in wrapped.named_parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch.manual_seed(2)) * 0.3
    wrapped.save_pretrained(tmp_path, save_embedding_layers="saved" in rows or "auto")
    if brought == "a tokenizer":
        tokenizer = make_byte_tokenizer()
        tokenizer.add_tokens(["[NEW]"], special_tokens=True)
        tokenizer.save_pretrained(tmp_path)
    found, tokenizer = merge_adapter(body("llama", AutoModel), make_byte_tokenizer(), str(tmp_path))
    assert found.get_input_embeddings().num_embeddings == 264
    expected = wrapped.merge_and_unload().get_input_embeddings().weight
    assert torch.equal(found.get_input_embeddings().weight, expected)
    assert ("[NEW]" in tokenizer.get_vocab()) == (brought == "a tokenizer")


def test_rows_that_nobody_brings_are_the_same_at_every_load(tmp_path, caplog):
    save(body("llama"), tmp_path, target_modules=["q_proj"], task_type="CAUSAL_LM")
    tokenizer = make_byte_tokenizer()
    tokenizer.add_tokens([f"[{place}]" for place in range(4)], special_tokens=True)
    tokenizer.save_pretrained(tmp_path)
    models = [merge_adapter(body("llama", AutoModel), tokenizer, str(tmp_path)) for _ in range(2)]
    first, second = (model.get_input_embeddings().weight for model, _ in models)
    assert len(first) == 263 and torch.equal(first, second)
    assert "has no embedding rows for the tokens 260 to 262" in caplog.text


def change(folder, config=None, weights=None):
    """Change an adapter's config (by a dict) and its tensors (by a function of all of them)."""
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | (config or {})))
    if weights is not None:
        save_file(weights(load_file(folder / FILE)), folder / FILE)


@pytest.mark.parametrize(
    "metadata",
    [
        {"auto_mapping": {"base_model_class": "Nothing", "parent_library": "no.such.library"}},
        {"task_type": "CAUSAL_LM"},
        {"task_type": "SEQ_2_SEQ_LM"},
        {"task_type": "NOT_A_TASK"},
        {"base_model_name_or_path": "nobody/nothing", "revision": "gone"},
        {"megatron_config": {"a": 1}, "megatron_core": "no.such.library"},
        {"peft_version": "99.0", "runtime_config": {"ephemeral_gpu_offload": True}},
    ],
)
def test_metadata_of_a_folder_is_not_obeyed(tmp_path, metadata):
    save(body("llama", AutoModel), tmp_path, target_modules=["q_proj"])
    expected = merged_by_us("llama", tmp_path)
    change(tmp_path, metadata)
    assert torch.equal(merged_by_us("llama", tmp_path), expected)


def test_a_head_that_is_left_out_is_logged(tmp_path, caplog):
    model = body("llama", AutoModelForSequenceClassification)
    save(model, tmp_path, target_modules=["q_proj"], task_type="SEQ_CLS")
    merged_by_us("llama", tmp_path)
    assert "1 tensors belong to a head, which embeddings do not use: score.weight" in caplog.text


def test_settings_of_a_newer_peft_are_logged(tmp_path, caplog):
    save(body("llama", AutoModel), tmp_path, target_modules=["q_proj"])
    change(tmp_path, {"use_tomorrow": True, "tomorrow_config": None})
    merged_by_us("llama", tmp_path)
    assert "does not know, which are ignored: use_tomorrow;" in caplog.text


def without(*parts):
    return lambda state: {n: t for n, t in state.items() if not any(p in n for p in parts)}


@pytest.mark.parametrize("task", [None, "CAUSAL_LM"])
@pytest.mark.parametrize(
    ("config", "weights", "told"),
    [
        ({}, lambda state: {}, r"lacks 12 of 12 tensors, first: \S*layers.0\S*q_proj.lora_A"),
        ({}, without("lora_A"), r"lacks 6 of 12 tensors, first: \S*layers.0\S*q_proj.lora_A"),
        ({}, without("layers.2"), r"lacks 4 of 12 tensors, first: \S*layers.2\S*q_proj.lora_A"),
        ({}, without("layers.1.self_attn.v_proj.lora_B"), "lacks 1 of 12 tensors"),
        ({"use_dora": True}, None, "lacks 6 of 18 tensors, first: .*lora_magnitude_vector"),
        ({"target_modules": ["q_proj"]}, None, r"6 of 12 tensors, first: .* are not in this model"),
        ({"target_modules": ["q_proj", "v_proj", "o_proj"]}, None, "lacks 6 of 18 tensors"),
        ({"target_modules": ["query"]}, None, "(?i)target modules .*query.* not found"),
        ({"modules_to_save": ["model.norm", "layers.2.mlp"]}, None, "lacks [34] of 1[56] tensors"),
        ({"trainable_token_indices": [3]}, None, "lacks 1 of 13 tensors"),
        (
            {"r": 8},
            None,
            r"does not fit LlamaModel with 3 layers of width 32: 12 of 12 .*lora_A.* is \[4, 32\]",
        ),
        (
            {},
            lambda state: {n.replace("layers.", "blocks."): t for n, t in state.items()},
            "lacks 12 of 12 tensors|12 of 12 tensors, first: .*blocks.0.* are not in this model",
        ),
        (
            {},
            lambda state: (
                state | {next(iter(state)).replace("layers.0", "layers.7"): torch.ones(1)}
            ),
            "1 of 13 tensors, first: .*layers.7.* are not in this model",
        ),
        ({}, lambda state: {n: t / 0 for n, t in state.items()}, "values that are not finite"),
        ({}, lambda state: {n: t[:0] for n, t in state.items()}, r"lora_[AB].weight is empty"),
        ({"layer_replication": [[0, 2], [1, 3]]}, None, "its layer_replication changes"),
        ({"alora_invocation_tokens": [3]}, None, "its alora_invocation_tokens .* cannot be merged"),
        ({"peft_type": "IA3"}, None, "is not a LoRA: its peft_type is IA3, .* Supported: LORA"),
        ({"peft_type": "LOHA"}, None, "is not a LoRA: its peft_type is LOHA"),
        ({"peft_type": "PROMPT_TUNING"}, None, "is not a LoRA: its peft_type is PROMPT_TUNING"),
        ({"peft_type": "PREFIX_TUNING"}, None, "is not a LoRA: its peft_type is PREFIX_TUNING"),
        ({"peft_type": None}, None, "is not a LoRA: its peft_type is None"),
        ({"r": 0}, None, "is no LoRA config|does not fit"),
    ],
)
def test_what_cannot_be_merged_whole_is_an_error(tmp_path, task, config, weights, told):
    targets = ["q_proj", "v_proj"]
    save(body("llama", KINDS[task]), tmp_path, target_modules=targets, task_type=task)
    change(tmp_path, config, weights)
    with pytest.raises(ValueError, match=told) as error:
        merged_by_us("llama", tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)[:200]


def test_adapters_of_other_architectures_are_refused(tmp_path):
    save(body("gpt2"), tmp_path, target_modules=["c_attn"], task_type="CAUSAL_LM")
    with pytest.raises(ValueError, match="does not fit LlamaModel"):
        merged_by_us("llama", tmp_path)
    with pytest.raises(ValueError, match="does not fit GPT2Model"):
        merged_by_us("gpt2", tmp_path, config=GPT | {"n_layer": 2})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty; fetch it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer.*git lfs"),
        (b"no safetensors at all, but long enough", "it may be cut short"),
    ],
)
@pytest.mark.parametrize("file", [FILE, "adapter_config.json"])
def test_files_that_are_not_what_they_are_named_say_so(tmp_path, content, told, file):
    save(body("llama"), tmp_path, target_modules=["q_proj"], task_type="CAUSAL_LM")
    (tmp_path / file).write_bytes(content)
    if file.endswith("json") and b"no safetensors" in content:
        told = "is no JSON"
    with pytest.raises(ValueError, match=f"{file} .*{told}|{file} is no"):
        merged_by_us("llama", tmp_path)


def test_a_config_that_holds_no_settings_is_named(tmp_path):
    save(body("llama", AutoModel), tmp_path, target_modules=["q_proj"])
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(ValueError, match="adapter_config.json holds list, so it is not a LoRA"):
        merged_by_us("llama", tmp_path)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "0.auto_model."])
def test_an_adapter_saved_around_a_wrapper_finds_its_place(tmp_path, prefix):
    save(body("llama", AutoModel), tmp_path, target_modules=["q_proj"])
    expected = merged_by_us("llama", tmp_path)
    place = "base_model.model."
    change(
        tmp_path,
        weights=lambda state: {n.replace(place, place + prefix): t for n, t in state.items()},
    )
    assert torch.equal(merged_by_us("llama", tmp_path), expected)
