"""Compute attention within packed sequences by variable-length flash attention, on CUDA.

Two packages have such a kernel: torch itself (`varlen`), and flash-attn, which also takes soft caps
and works with older torch. Both take grouped heads and windows, and return the logs of the
softmaxes' sums, so a shared prefix is attended to once, by all tokens, and merged in.

T tokens of the packed batch, H query heads, K key heads, P tokens of a shared prefix, D head size.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.backbone.kernels import attend_padded, merge_prefix
from methods.backbone.packed_batch import CannotPack, PackedBatch, Scoring

HALF = (torch.bfloat16, torch.float16)
HEAD_UNIT = 8  # the kernels take head sizes that are multiples of it
USED = {"window_size", "enable_gqa", "return_aux", "scale"}  # the first torch with varlen lacks two


def has_varlen() -> bool:
    """Return whether this torch has variable-length attention with windows and grouped heads."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return set(inspect.signature(varlen_attn).parameters) >= USED


def has_flash_attn() -> bool:
    """Return whether the flash-attn package is installed; FlashAttention 4 is another package, with
    a module of the same name."""
    try:
        importlib.metadata.version("flash-attn")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@dataclass(frozen=True, eq=False)
class _Ranges:
    """Which queries attend to which keys. *_ends: where sequences begin and end among the queries
    and the keys, int32 [B + 1]. *_longest: tokens of the longest. window: how many tokens to the
    left and to the right; -1 for all."""

    q_ends: Tensor
    k_ends: Tensor
    q_longest: int
    k_longest: int
    window: tuple[int, int]


def attend_flash(
    module: nn.Module,
    q_HTD: Tensor,
    k_KTD: Tensor,
    v_KTD: Tensor,
    batch: PackedBatch,
    scoring: Scoring,
) -> Tensor:
    """Return the attention of each sequence: [T, H, D].

    In float32, which the kernels do not compute in, sequences are padded instead.
    """
    dtype = _find_half(q_HTD, v_KTD)
    if dtype is None:
        return attend_padded(module, q_HTD, k_KTD, v_KTD, batch, scoring)
    size, wanted = v_KTD.shape[-1], max(q_HTD.shape[-1], v_KTD.shape[-1])
    wanted += -wanted % HEAD_UNIT

    def prepare(x: Tensor) -> Tensor:  # more columns of zeros change no product
        x = x.transpose(0, 1).to(dtype)
        return x if x.shape[-1] == wanted else functional.pad(x, (0, wanted - x.shape[-1]))

    call = _call_torch if batch.layout == "varlen" else _call_flash_attn
    q, k, v = map(prepare, (q_HTD, k_KTD, v_KTD))
    ends, longest = batch.make_ends(q.device), max(batch.lengths)
    window = _find_sides(batch.attention == "causal", scoring.window)
    out, lse = call(q, k, v, _Ranges(ends, ends, longest, longest, window), scoring)
    if batch.prefix:
        keys, values = map(prepare, batch.prefix[module])
        q_ends, k_ends = (_make_whole(batch, len(x), q.device) for x in (q, keys))
        ranges = _Ranges(q_ends, k_ends, len(q), len(keys), (-1, -1))
        before, before_lse = call(q, keys, values, ranges, scoring)
        out = merge_prefix(out, lse, before, before_lse)
    return out[..., :size]


def _find_half(q_HTD: Tensor, v_KTD: Tensor) -> torch.dtype | None:
    """Return the half precision to compute in: the states', or that of the autocast in force (a
    rotary embedding gives float32 queries); None where there is none."""
    for dtype in (q_HTD.dtype, v_KTD.dtype):
        if dtype in HALF:
            return dtype
    kind = q_HTD.device.type
    if torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) in HALF:
        return torch.get_autocast_dtype(kind)
    return None


def _find_sides(causal: bool, window: int | None) -> tuple[int, int]:
    """Return how many tokens to the left and to the right are attended to; -1 for all.

    As transformers' masks have it: causal, a window counts the token itself; else it does not.
    (transformers' own flash attention counts it in both, and so differs from its masks.)
    """
    if window is None:
        return (-1, 0) if causal else (-1, -1)
    return (window - 1, 0) if causal else (window, window)


def _make_whole(batch: PackedBatch, tokens: int, device: Any) -> Tensor:
    """Return the boundaries of so many tokens taken as one sequence."""
    return batch.share(
        ("whole", tokens), lambda: torch.arange(2, dtype=torch.int32, device=device) * tokens
    )


def _call_torch(
    q: Tensor, k: Tensor, v: Tensor, ranges: _Ranges, scoring: Scoring
) -> tuple[Tensor, Tensor]:
    """Return torch's variable-length attention [T, H, D] and the logs of the sums [T, H]."""
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    if scoring.softcap:
        raise CannotPack("a soft cap needs flash-attn")
    out, lse = varlen_attn(
        q,
        k,
        v,
        ranges.q_ends,
        ranges.k_ends,
        ranges.q_longest,
        ranges.k_longest,
        return_aux=AuxRequest(lse=True),
        scale=scoring.scale,
        window_size=ranges.window,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    # documented as [T, H]; torch 2.13 gives [H, T]
    return out, lse.T if lse.shape == (q.shape[1], len(q)) else lse


def _call_flash_attn(
    q: Tensor, k: Tensor, v: Tensor, ranges: _Ranges, scoring: Scoring
) -> tuple[Tensor, Tensor]:
    """Return flash-attn's variable-length attention [T, H, D] and the logs of the sums [T, H]."""
    from flash_attn import flash_attn_varlen_func  # pyright: ignore[reportMissingImports]

    out, lse, *_ = flash_attn_varlen_func(
        q,
        k,
        v,
        ranges.q_ends,
        ranges.k_ends,
        ranges.q_longest,
        ranges.k_longest,
        softmax_scale=scoring.scale,
        causal=ranges.window[1] == 0,
        window_size=ranges.window,
        softcap=scoring.softcap or 0.0,
        return_attn_probs=True,
    )
    return out, lse.T
