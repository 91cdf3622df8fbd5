"""Packed sequences give the states of padded ones, and what cannot be packed is padded."""

import random

import pytest
import torch

from methods.backbone import forward as engine
from methods.backbone import kernels, packed, packing_probe
from methods.backbone.forward import forward
from methods.backbone.loader import build_backbone, load_backbone
from methods.backbone.packed_batch import PackedBatch
from methods.backbone.packing_probe import find_packing_fault, supports_packing
from methods.base import Inputs
from tests.backbone.architectures import GPT, HEADS, SMALL, WINDOW, spec

LAYER_TYPES = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8}
PACKED = {
    "llama": SMALL,
    "mistral": SMALL | WINDOW,
    "mixtral": SMALL,
    "qwen2": SMALL | WINDOW | {"use_sliding_window": True, "max_window_layers": 1},
    "qwen2_moe": SMALL
    | EXPERTS
    | {"num_experts": 4, "decoder_sparse_step": 1, "shared_expert_intermediate_size": 16},
    "qwen3": SMALL | HEADS,
    "gemma": SMALL | HEADS,
    "gemma2": SMALL | HEADS | WINDOW,  # soft caps
    "gemma3_text": SMALL | HEADS | WINDOW | LAYER_TYPES,
    "gpt2": GPT,  # learned positions
    "gpt_neox": SMALL,
    "opt": SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32},  # learned positions, offset by two
    "phi": SMALL,
    "phi3": SMALL,
    "stablelm": SMALL,
    "starcoder2": SMALL,
    "nemotron": SMALL,
    "olmo": SMALL,
    "olmo2": SMALL,
    "cohere": SMALL,
    "cohere2": SMALL | HEADS | WINDOW,
    "deepseek_v3": SMALL  # values of another size than keys
    | EXPERTS
    | LATENT
    | {"num_key_value_heads": 4, "v_head_dim": 4, "n_routed_experts": 4}
    | {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1},
    "glm": SMALL | HEADS,
    "granite": SMALL,
    "smollm3": SMALL,
}
PADDED = {
    "gptj": GPT | {"rotary_dim": 4},  # attention of its own
    "falcon": SMALL,
    "bloom": SMALL,  # biases by distance
    "gpt_oss": SMALL | HEADS | WINDOW | {"num_local_experts": 4, "num_experts_per_tok": 2},  # sinks
    "lfm2": SMALL | {"layer_types": ["conv", "full_attention", "conv"]},  # would mix rows
}
NO_WINDOW = [name for name, config in PACKED.items() if "sliding_window" not in config]
BEGINNING = list(range(40, 51))


def rows(*, beginning=(), seed=0):
    draw = random.Random(seed)
    lengths = [12, 9, 9, 5, 3, 3, 3, 1]
    return [[*beginning, *(draw.randrange(3, 255) for _ in range(n))] for n in lengths]


def states(backbone, ids, attention, *, packed, layers=(0, 2, -1)):
    before = backbone.packed
    backbone.packed = before if packed else frozenset()
    found = {}
    try:
        inputs = Inputs(ids, [[True] * len(row) for row in ids])
        for batch, kept in forward(backbone, inputs, attention=attention, layers=list(layers)):
            for place, row in enumerate(batch):
                found[row] = torch.cat([kept[k][place, : len(ids[row])] for k in layers])
    finally:
        backbone.packed = before
    return torch.cat([found[row] for row in range(len(ids))])


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("layout", ["groups", "padded"])
@pytest.mark.parametrize("architecture", PACKED)
def test_packed_rows_are_what_padded_rows_are(architecture, layout, attention):
    backbone = load_backbone(spec(architecture, PACKED[architecture]))
    assert attention in backbone.packed
    backbone.packed_layout = layout
    if layout == "padded" and architecture == "gemma2":
        assert not supports_packing(backbone.model, attention, layout)  # soft caps
        return
    for ids in (rows(), rows(beginning=BEGINNING)):
        expected = states(backbone, ids, attention, packed=False)
        assert torch.allclose(
            states(backbone, ids, attention, packed=True), expected, atol=5e-6, rtol=1e-5
        )


@pytest.mark.parametrize("architecture", PADDED)
def test_what_cannot_be_packed_is_padded(architecture):
    backbone = load_backbone(spec(architecture, PADDED[architecture]))
    assert backbone.packed == frozenset()
    assert backbone.choices["packed"] == []


def test_packing_asked_for_by_name_and_impossible_is_an_error():
    with pytest.raises(
        ValueError, match="kernel.packed=true, but BloomModel cannot be run on packed"
    ):
        load_backbone(spec("bloom", SMALL, packed=True))


@pytest.mark.parametrize("choice", [{"packed": False}, {"kernel": "eager"}])
def test_packing_can_be_turned_off(choice):
    assert load_backbone(spec("llama", SMALL, **choice)).packed == frozenset()


def test_the_probe_sees_a_window_that_no_attention_module_asks_for(monkeypatch):
    backbone = load_backbone(spec("mistral", SMALL | WINDOW))
    plain = packed.attend_packed

    def deaf(*arguments, sliding_window=None, **more):
        return plain(*arguments, **more)

    monkeypatch.setitem(packed.AttentionInterface._global_mapping, packed.NAME, deaf)
    fault = find_packing_fault(backbone.model, "causal", "groups")
    assert fault == "its attention modules do not pass on their sliding window"


def test_a_probe_that_runs_out_of_memory_says_so(monkeypatch):
    backbone = load_backbone(spec("llama", SMALL))

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(packing_probe, "_run_packed", full)
    with pytest.raises(torch.OutOfMemoryError):
        supports_packing(backbone.model, "causal", "groups")


def test_the_probe_sees_rows_that_see_their_neighbours(monkeypatch):
    backbone = load_backbone(spec("llama", SMALL))
    whole = property(lambda batch: [(0, 1, sum(batch.lengths))])
    monkeypatch.setattr(PackedBatch, "groups", whole)
    fault = find_packing_fault(backbone.model, "bidirectional", "groups")
    assert fault == "a packed sequence attends to its neighbours"


PREFIX_OP = "_scaled_dot_product_flash_attention_for_cpu"


def replace_op(monkeypatch, error):
    """Let the private operator, which only a shared prefix needs, raise an error."""

    def changed(*_arguments, **_options):
        raise error

    monkeypatch.setattr(torch.ops.aten, PREFIX_OP, changed)


CHANGED = TypeError("takes 5 positional arguments but 6 were given")
PREFIXED = [("llama", SMALL), ("mistral", SMALL | {"sliding_window": 16})]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("architecture", "config"), PREFIXED)
def test_an_operator_that_fails_with_a_prefix_is_found_at_load(
    architecture, config, dtype, monkeypatch, caplog
):
    replace_op(monkeypatch, CHANGED)
    caplog.set_level("INFO")
    backbone = build_backbone(spec(architecture, config, dtype=dtype))
    assert backbone.packed == {"bidirectional"}
    assert backbone.choices["packed"] == ["bidirectional"]
    assert "is run padded under attention=causal: its forward pass raises TypeError" in caplog.text


def test_packing_asked_for_by_name_is_an_error_where_a_prefix_fails(monkeypatch):
    replace_op(monkeypatch, CHANGED)
    with pytest.raises(ValueError, match="kernel.packed=true, but LlamaModel .* 5 positional"):
        build_backbone(spec("llama", SMALL, packed=True))


def test_running_out_of_memory_with_a_prefix_is_raised(monkeypatch):
    backbone = load_backbone(spec("llama", SMALL))
    replace_op(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    assert supports_packing(backbone.model, "bidirectional", "groups")
    with pytest.raises(torch.OutOfMemoryError):
        supports_packing(backbone.model, "causal", "groups")


def test_the_probe_sees_a_prefix_that_is_left_out(monkeypatch):
    backbone = load_backbone(spec("llama", SMALL))
    plain = kernels.attend_grouped

    def forgetful(module, q, k, v, batch, scoring):
        batch = PackedBatch(batch.lengths, batch.attention)
        return plain(module, q, k, v, batch, scoring)

    monkeypatch.setattr(packed, "attend_grouped", forgetful)
    assert supports_packing(backbone.model, "bidirectional", "groups")
    fault = find_packing_fault(backbone.model, "causal", "groups")
    assert fault == "packed sequences after a shared prefix do not give the states of whole ones"


@pytest.mark.parametrize("architecture", NO_WINDOW)
def test_a_shared_prefix_is_computed_once(architecture, monkeypatch):
    backbone = load_backbone(spec(architecture, PACKED[architecture]))
    ids = rows(beginning=BEGINNING)
    read = []
    plain = engine.run_layers

    def counting(model, layers, **what):
        read.append(what["input_ids"].numel())
        return plain(model, layers, **what)

    monkeypatch.setattr(engine, "run_layers", counting)
    states(backbone, ids, "causal", packed=True)
    assert sum(read) == sum(map(len, ids)) - (len(ids) - 1) * len(BEGINNING)
    read.clear()
    states(backbone, ids, "bidirectional", packed=True)
    assert sum(read) == sum(map(len, ids))


def test_a_row_that_is_the_shared_prefix_keeps_a_token_of_its_own():
    backbone = load_backbone(spec("llama", SMALL))
    ids = [BEGINNING, [*BEGINNING, 7, 8], BEGINNING]
    expected = states(backbone, ids, "causal", packed=False)
    assert torch.allclose(states(backbone, ids, "causal", packed=True), expected, atol=5e-6)


@pytest.mark.parametrize("beginning", [(), BEGINNING])
def test_half_precision_takes_other_kernels_and_gives_near_the_same(beginning, monkeypatch):
    backbone = load_backbone(spec("llama", SMALL, dtype="bfloat16"))
    ids = rows(beginning=beginning)
    expected = states(backbone, ids, "causal", packed=False).float()
    for short in (0, 64):
        monkeypatch.setattr(kernels, "SHORT", short)
        found = states(backbone, ids, "causal", packed=True).float()
        assert torch.cosine_similarity(found, expected, dim=-1).min() > 0.999


def test_the_model_is_as_before_after_a_packed_pass():
    backbone = load_backbone(spec("llama", SMALL))
    ids = torch.arange(5, 15)[None]
    before = backbone.model(ids).last_hidden_state
    states(backbone, rows(), "bidirectional", packed=True)
    assert backbone.model.config._attn_implementation == "sdpa"
    assert torch.equal(backbone.model(ids).last_hidden_state, before)


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_a_real_model_gives_the_vectors_of_padded_rows(smollm2, attention):
    """float32, texts of every length, one longer than the budget, some with a shared prefix."""
    backbone = smollm2("sgpt", batch_tokens=256).backbone
    assert backbone.packed == {"causal", "bidirectional"}
    texts = ["a", "A man is playing a guitar.", "Two dogs run.", *(f"{n} cats" for n in range(9))]
    texts += ["The state at the last token of a text has seen all of it. " * 30]
    for beginning in ("", "Given a question, retrieve passages that answer it. Question: "):
        ids = backbone.tokenizer([beginning + text for text in texts])["input_ids"]
        assert max(map(len, ids)) > backbone.batch_tokens
        found = states(backbone, ids, attention, packed=True, layers=[-1])
        expected = states(backbone, ids, attention, packed=False, layers=[-1])
        assert torch.cosine_similarity(found, expected, dim=-1).min() > 0.99999


def test_the_probe_is_not_put_off_by_the_noise_of_half_precision(smollm2):
    assert smollm2("sgpt", dtype="bfloat16").backbone.packed == {"causal", "bidirectional"}
