"""Packed attention on CUDA: by emulation everywhere, and on a card where there is one."""

import inspect

import pytest
import torch
from torch.nn import functional

from methods.backbone import flash, hardware, packing_probe
from methods.backbone.attention import attention_mode
from methods.backbone.hardware import list_packed_layouts
from methods.backbone.loader import build_backbone, load_backbone
from methods.backbone.packed_batch import PackedBatch, find_parts
from methods.backbone.packing_probe import find_packing_fault, supports_packing
from tests.backbone import flash_emulation
from tests.backbone.architectures import SMALL, WINDOW, spec
from tests.backbone.test_packed import BEGINNING, PACKED, PADDED, rows, states

KERNELS = ["varlen", "flash_attention_2"]


@pytest.fixture
def kernels(monkeypatch):
    """Both packages' kernels, emulated, in float32."""
    calls = flash_emulation.install(monkeypatch, *KERNELS)
    flash_emulation.take_float32(monkeypatch, calls)
    return calls


def test_the_emulation_takes_what_torchs_kernel_takes():
    from torch.nn.attention.varlen import varlen_attn

    assert set(inspect.signature(varlen_attn).parameters) >= {
        *("query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"),
        *("return_aux", "scale", "window_size", "enable_gqa"),
    }


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("layout", KERNELS)
@pytest.mark.parametrize("architecture", PACKED)
def test_flash_attention_gives_the_states_of_padded_rows(architecture, layout, attention, kernels):
    backbone = build_backbone(spec(architecture, PACKED[architecture]))
    assert backbone.packed == {"causal", "bidirectional"}
    capped = architecture == "gemma2"
    assert backbone.packed_layout == ("flash_attention_2" if capped else "varlen")
    if capped and layout == "varlen":
        fault = find_packing_fault(backbone.model, attention, layout)
        assert fault is not None and "a soft cap needs flash-attn" in fault
        return
    backbone.packed_layout = layout
    kernels.clear()
    for ids in (rows(), rows(beginning=BEGINNING)):
        expected = states(backbone, ids, attention, packed=False)
        found = states(backbone, ids, attention, packed=True)
        assert torch.allclose(found, expected, atol=5e-6, rtol=1e-5)
    assert {call[0] for call in kernels} == {layout}


@pytest.mark.parametrize("layout", KERNELS)
def test_a_shared_prefix_is_attended_to_once_a_layer_by_all_tokens(layout, kernels):
    backbone = build_backbone(spec("llama", SMALL))
    backbone.packed_layout = layout
    ids = rows(beginning=BEGINNING)
    kernels.clear()
    states(backbone, ids, "causal", packed=True, layers=(-1,))
    tokens, longest = sum(map(len, rows())), max(map(len, rows()))
    assert kernels == [
        *[(layout, (-1, 0), 1, len(BEGINNING), len(BEGINNING))] * 3,
        *[
            (layout, (-1, 0), len(ids), longest, longest),
            (layout, (-1, -1), 1, tokens, len(BEGINNING)),
        ]
        * 3,
    ]


@pytest.mark.parametrize("layout", KERNELS)
def test_half_precision_is_taken_as_it_comes(layout, monkeypatch):
    calls = flash_emulation.install(monkeypatch, layout)
    backbone = build_backbone(spec("llama", SMALL, dtype="bfloat16"))
    assert (backbone.packed_layout, len(backbone.packed)) == (layout, 2)
    ids = rows(beginning=BEGINNING)
    expected = states(backbone, ids, "causal", packed=False).float()
    found = states(backbone, ids, "causal", packed=True).float()
    assert torch.cosine_similarity(found, expected, dim=-1).min() > 0.999
    assert {call[0] for call in calls} == {layout}


def test_float32_is_padded_and_autocast_is_not(monkeypatch):
    calls = flash_emulation.install(monkeypatch, "varlen")
    backbone = build_backbone(spec("llama", SMALL, linears="torch"))
    backbone.packed_layout = "varlen"
    expected = states(backbone, rows(), "bidirectional", packed=False)
    found = states(backbone, rows(), "bidirectional", packed=True)
    assert torch.allclose(found, expected, atol=5e-6) and not calls
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = states(backbone, rows(), "bidirectional", packed=True).float()
    assert torch.cosine_similarity(found, expected, dim=-1).min() > 0.99 and calls


@pytest.mark.parametrize("layout", KERNELS)
def test_the_probe_sees_windows_that_are_one_off(layout, monkeypatch, kernels):
    model = build_backbone(spec("mistral", SMALL | {"sliding_window": 30})).model
    plain = flash._find_sides

    def narrow(causal, window):
        return (window - 1, window - 1) if window and not causal else plain(causal, window)

    assert supports_packing(model, "bidirectional", layout)
    monkeypatch.setattr(flash, "_find_sides", narrow)
    fault = find_packing_fault(model, "bidirectional", layout)
    assert fault == "the kernel's sliding windows are not those of the model's masks"
    assert supports_packing(model, "causal", layout)


def test_the_next_way_to_pack_is_taken_with_a_warning(monkeypatch, caplog):
    calls = flash_emulation.install(monkeypatch, *KERNELS)
    calls.refuse = RuntimeError("FlashAttention only supports Ampere GPUs or newer.")
    backbone = build_backbone(spec("llama", SMALL, dtype="bfloat16"))
    assert (backbone.packed_layout, len(backbone.packed)) == ("padded", 2)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 2 and all("only supports Ampere" in text for text in warnings)
    assert warnings[0].startswith("LlamaModel is packed as padded, not varlen (bidirectional: ")


def test_a_kernel_that_runs_out_of_memory_at_load_says_so(monkeypatch):
    calls = flash_emulation.install(monkeypatch, "varlen")
    calls.refuse = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        build_backbone(spec("llama", SMALL, dtype="bfloat16"))


def test_what_is_run_padded_is_warned_of(caplog):
    build_backbone(spec("bloom", SMALL))
    record = next(r for r in caplog.records if "is run padded" in r.getMessage())
    assert record.levelname == "WARNING" and "BloomModel" in record.getMessage()


@pytest.mark.parametrize(
    ("device", "dtype", "kernel", "installed", "expected"),
    [
        ("cpu", "bfloat16", "auto", (True, True), ["groups"]),
        ("cuda:0", "float32", "auto", (True, True), ["padded"]),
        ("cuda:0", "bfloat16", "auto", (True, True), [*KERNELS, "padded"]),
        ("cuda:0", "bfloat16", "auto", (True, False), ["varlen", "padded"]),
        ("cuda:0", "float16", "auto", (False, True), ["flash_attention_2", "padded"]),
        ("cuda:0", "bfloat16", "flash_attention_2", (True, True), [*KERNELS[::-1], "padded"]),
        ("cuda:0", "bfloat16", "sdpa", (True, True), ["varlen", "padded"]),
    ],
)
def test_ways_to_pack_are_tried_best_first(device, dtype, kernel, installed, expected, monkeypatch):
    monkeypatch.setattr(hardware, "has_varlen", lambda: installed[0])
    monkeypatch.setattr(hardware, "has_flash_attn", lambda: installed[1])
    assert list_packed_layouts(device, dtype, kernel) == expected


@pytest.mark.parametrize(("package", "expected"), [("flash-attn", True), ("flash-attn-4", False)])
def test_another_package_of_that_module_is_not_flash_attn(package, expected, tmp_path, monkeypatch):
    about = tmp_path / f"{package.replace('-', '_')}-4.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Name: {package}\nVersion: 4.0\n")
    (tmp_path / "flash_attn").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert flash.has_flash_attn() is expected


def test_padding_is_at_most_as_much_as_the_tokens():
    lengths = [1800, *sorted([8 + i % 22 for i in range(1700)], reverse=True)]
    parts = list(find_parts(lengths))
    assert [place for part in parts for place in range(*part)] == list(range(1701))
    cells = sum(max(lengths[a:b]) * (b - a) for a, b in parts)
    assert cells <= 2 * sum(lengths) and len(parts) <= 12
    assert (
        sum(p.index_BL.numel() for p in PackedBatch(lengths, "causal").make_paddings("cpu"))
        == cells
    )


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_no_mask_is_given_together_with_grouped_heads(architecture, attention, monkeypatch):
    backbone = load_backbone(spec(architecture, PACKED[architecture]))
    monkeypatch.setattr(backbone, "packed_layout", "padded")
    plain, asked = functional.scaled_dot_product_attention, []

    def spy(*arguments, attn_mask=None, enable_gqa=False, **more):
        asked.append((attn_mask is not None, enable_gqa))
        return plain(*arguments, attn_mask=attn_mask, enable_gqa=enable_gqa, **more)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", spy)
    for ids in (rows(), rows(beginning=BEGINNING)):
        states(backbone, ids, attention, packed=True)
    assert asked and (True, True) not in asked


@pytest.mark.parametrize("implementation", ["flash_attention_2", "sdpa"])
@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("mistral", "sdpa"), ("gemma2", "eager"), ("gpt_oss", "eager"), ("llama", None)],
)
def test_padded_two_sided_windows_are_masks(architecture, expected, implementation):
    model = build_backbone(spec(architecture, (PACKED | PADDED)[architecture])).model
    model.config._attn_implementation = implementation
    switched = implementation == "flash_attention_2" and expected
    with attention_mode(model, "bidirectional"):
        assert model.config._attn_implementation == (expected if switched else implementation)
    assert model.config._attn_implementation == implementation
    with attention_mode(model, "causal"):
        assert model.config._attn_implementation == implementation


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
class TestOnACard:
    """What emulation cannot show: the kernels themselves."""

    @pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen3", "gemma2", "deepseek_v3"])
    def test_the_model_is_packed(self, architecture):
        backbone = build_backbone(spec(architecture, PACKED[architecture], dtype="bfloat16"))
        assert backbone.packed == {"causal", "bidirectional"} or architecture == "gemma2"
        for attention in backbone.packed:
            for ids in (rows(), rows(beginning=BEGINNING)):
                expected = states(backbone, ids, attention, packed=False).float()
                found = states(backbone, ids, attention, packed=True).float()
                assert torch.cosine_similarity(found, expected, dim=-1).median() > 0.99

    @pytest.mark.parametrize("attention", ["causal", "bidirectional"])
    def test_float32_is_what_a_cpu_gives(self, attention):
        found = [
            states(build_backbone(spec("mistral", SMALL | WINDOW, device=device)), ids, attention,
                   packed=True).cpu()
            for device in ("cpu", "cuda:0")
            for ids in (rows(beginning=BEGINNING),)
        ]  # fmt: skip
        assert torch.allclose(*found, atol=1e-4)

    @pytest.mark.parametrize("attention", ["causal", "bidirectional"])
    def test_windows_of_torchs_kernel_are_those_of_masks(self, attention):
        model = build_backbone(spec("mistral", SMALL | WINDOW, dtype="bfloat16")).model
        assert packing_probe._compare_windows(model, attention, "varlen") is None
