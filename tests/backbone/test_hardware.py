"""What `auto` means on machines of every kind, whichever this one is."""

import logging

import pytest
import torch

from methods.backbone import hardware, loader, probes, weights
from methods.backbone.checkpoint import Checkpoint
from methods.backbone.hardware import resolve_dtype
from methods.backbone.loader import build_backbone
from tests.backbone.architectures import SMALL, spec

AVX2 = {"avx2": True, "avx512": False, "avx512_bf16": False, "amx_bf16": False}


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ({}, "float32"),  # torch knows of none: not an x86
        (AVX2, "float32"),
        (AVX2 | {"avx512": True}, "float32"),  # wide, but without bfloat16
        (AVX2 | {"avx512": True, "avx512_bf16": True}, "bfloat16"),
        (AVX2 | {"avx512": True, "amx_bf16": True}, "bfloat16"),
    ],
)
def test_auto_is_bfloat16_where_the_cpu_computes_in_it(units, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    assert resolve_dtype("auto", "cpu") == expected
    for dtype in ("float32", "bfloat16", "float16"):
        assert resolve_dtype(dtype, "cpu") == dtype  # what is asked for by name is had


@pytest.mark.parametrize(("computes", "expected"), [(True, "bfloat16"), (False, "float16")])
def test_auto_is_bfloat16_where_the_card_computes_in_it(computes, expected, monkeypatch):
    def supported(including_emulation=True):
        return computes or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert resolve_dtype("auto", "auto") == expected


def warnings_in(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("cuda", "visible", "expected"),
    [
        (None, None, "is built without CUDA"),
        ("13.0", "", "CUDA_VISIBLE_DEVICES is ''"),
        ("13.0", None, "needs a driver for CUDA 13.0"),
    ],
)
def test_a_card_that_auto_does_not_use_is_warned_of_once(
    cuda, visible, expected, monkeypatch, caplog
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(hardware, "find_card", lambda: "/dev/nvidia0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    build_backbone(spec("llama", SMALL))
    (warning,) = warnings_in(caplog)
    assert warning.startswith("RUNNING ON THE CPU") and expected in warning
    caplog.clear()
    build_backbone(spec("llama", SMALL, device="cpu"))
    monkeypatch.setattr(hardware, "find_card", lambda: None)
    build_backbone(spec("llama", SMALL))
    assert not warnings_in(caplog)


def try_kernels(monkeypatch, *names):
    monkeypatch.setattr(loader, "resolve_kernels", lambda *_: list(names))


@pytest.mark.parametrize("error", [ImportError, RuntimeError, AttributeError])
def test_auto_goes_on_where_a_kernel_cannot_be_loaded(error, monkeypatch, caplog):
    plain = weights._load_under

    def refuse(checkpoint, config, spec, dtype, kernel):
        if kernel == "flash_attention_2":
            raise error("no such kernel")
        return plain(checkpoint, config, spec, dtype, kernel)

    try_kernels(monkeypatch, "flash_attention_2", "sdpa", "eager")
    monkeypatch.setattr(weights, "_load_under", refuse)
    monkeypatch.setattr(weights, "_can_build", lambda *_: False)
    assert build_backbone(spec("llama", SMALL)).choices["kernel"] == "sdpa"
    assert warnings_in(caplog) == [
        "llama is not loaded with flash_attention_2 attention: no such kernel"
    ]


def test_flash_attention_that_is_not_installed_is_gone_on_from(monkeypatch, caplog):
    try_kernels(monkeypatch, "flash_attention_2", "sdpa", "eager")
    assert build_backbone(spec("llama", SMALL)).choices["kernel"] == "sdpa"
    assert len(warnings_in(caplog)) == 1


def test_an_error_that_is_not_the_kernels_is_raised(monkeypatch):
    def broken(*_):
        raise ValueError("weights that do not fit")

    monkeypatch.setattr(weights, "_load_under", broken)
    with pytest.raises(ValueError, match="do not fit"):
        build_backbone(spec("llama", SMALL))


@pytest.mark.parametrize("when", ["set", "run"])
def test_auto_goes_on_where_a_kernel_refuses_the_card(when, monkeypatch, caplog):
    model = build_backbone(spec("llama", SMALL)).model
    error = RuntimeError("FlashAttention only supports Ampere GPUs or newer.")
    plain_set, plain_run = model.set_attn_implementation, model.forward

    def set_kernel(kernel):
        if when == "set" and kernel == "sdpa":
            raise error
        plain_set(kernel)

    def run(*arguments, **options):
        if when == "run" and model.config._attn_implementation == "sdpa":
            raise error
        return plain_run(*arguments, **options)

    monkeypatch.setattr(model, "set_attn_implementation", set_kernel)
    monkeypatch.setattr(model, "forward", run)
    assert probes.choose_kernel(model, ["sdpa", "eager"]) == ({}, "eager")
    (warning,) = warnings_in(caplog)
    assert warning.startswith("LlamaModel is run with eager attention, not sdpa (bidirectional: ")
    assert "only supports Ampere" in warning


@pytest.mark.parametrize(("device", "mapped"), [("cuda:0", {"": "cuda:0"}), ("cpu", None)])
def test_weights_are_loaded_straight_onto_the_card(device, mapped, monkeypatch):
    asked = {}
    monkeypatch.setattr(weights, "resolve_device", lambda _: device)
    monkeypatch.setattr(weights, "load_verified", lambda *_, **more: (asked.update(more), ()))
    checkpoint = Checkpoint(location="here", fingerprint="none")
    weights._load_under(checkpoint, None, spec("llama", SMALL), "bfloat16", "sdpa")
    assert asked.get("device_map") == mapped
