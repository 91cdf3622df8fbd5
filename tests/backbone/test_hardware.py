"""What `auto` means on machines of every kind, whichever this one is."""

import pytest
import torch

from methods.backbone.hardware import resolve_dtype

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
