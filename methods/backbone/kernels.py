"""Three ways to attend within packed rows: by groups of equal length, padded, by flash-attn.

B rows of a group, H query heads, K key heads (H = G K), T tokens of the stream, L of a row, M keys
of a row, P of a prefix, D size of a head.

Rows of equal length stand together (the stream is sorted), so on a CPU a group of them is a view
and one call. On CUDA the stream goes to flash_attention_2's variable-length kernel, or, without
flash-attn, is padded for the attention alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

if TYPE_CHECKING:
    from methods.backbone.packed import Stream

# Up to this length two half-precision matrix products beat the CPU's fused kernel (at 1,024 tokens
# of 11 each 0.4 ms against 2.6); without AMX tiles (Zen 5) they do
# at any length whose scores fit the caches.
SHORT = 64
LONG = 1024


@dataclass(frozen=True)
class Scoring:
    """How an attention module scores: factor of the products, sliding window, soft cap."""

    scale: float
    window: int | None
    softcap: float | None


class CannotPack(ValueError):
    """A model whose attention needs more than its own row's tokens."""


def grouped(
    module: nn.Module,
    q_HTD: Tensor,
    k_KTD: Tensor,
    v_KTD: Tensor,
    stream: Stream,
    scoring: Scoring,
) -> Tensor:
    """Attention group by group: [T, H, D]."""
    causal = stream.attention == "causal"
    (H, T, _), D = q_HTD.shape, v_KTD.shape[-1]
    out_THD = q_HTD.new_empty(T, H, D)
    logsumexp_TH = None
    if stream.prefix:  # float32 by name: a load in another thread may change torch's default
        logsumexp_TH = torch.empty(T, H, dtype=torch.float32, device=q_HTD.device)
    for start, rows, length in stream.groups:
        here = slice(start, start + rows * length)
        q, k, v = (
            x[:, here].unflatten(1, (rows, length)).transpose(0, 1) for x in (q_HTD, k_KTD, v_KTD)
        )
        # the fused kernel that hands out normalisers takes no other size of values
        unfused = scoring.softcap or (stream.prefix and q.shape[-1] != D)
        if unfused or _explicit_is_faster(q, length):
            bias = _bias(stream, length, scoring.window, q.dtype, q.device)
            out, lse = _explicit(q, k, v, bias, scoring, normalisers=bool(stream.prefix))
        elif stream.prefix:
            groups = q.shape[1] // k.shape[1]
            k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
            out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                q, k, v, 0.0, causal, scale=scoring.scale
            )
        else:
            window = scoring.window
            mask = None if window is None else _allowed(length, causal, window, q.device)
            out = functional.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=mask,
                is_causal=causal and mask is None,
                scale=scoring.scale,
                enable_gqa=q.shape[1] != k.shape[1],
            )
            lse = None
        out_THD[here].unflatten(0, (rows, length)).copy_(out.transpose(1, 2))
        if logsumexp_TH is not None and lse is not None:
            logsumexp_TH[here].unflatten(0, (rows, length)).copy_(lse.transpose(1, 2))
    if stream.prefix is None or logsumexp_TH is None:
        return out_THD
    # The prefix is read by all tokens in one call; two softmaxes are merged by their normalisers.
    keys, values = stream.prefix[module]
    out, lse = _explicit(q_HTD[None], keys[None], values[None], None, scoring, normalisers=True)
    assert lse is not None
    share_TH1 = torch.sigmoid(lse[0].T - logsumexp_TH)[..., None].to(out_THD.dtype)
    return torch.lerp(out_THD, out[0].transpose(0, 1), share_TH1)


def _explicit_is_faster(q: Tensor, length: int) -> bool:
    if q.dtype not in (torch.bfloat16, torch.float16):
        return False
    return length <= (SHORT if torch.cpu.get_capabilities().get("amx_bf16") else LONG)


def _explicit(
    q_BHLD: Tensor,
    k_BKMD: Tensor,
    v_BKMD: Tensor,
    bias_ML: Tensor | None,
    scoring: Scoring,
    *,
    normalisers: bool,
) -> tuple[Tensor, Tensor | None]:
    """Two matrix products around a softmax: [B, H, L, D] and, if asked, the log of its sums
    [B, H, L].

    The G query heads of a key head are columns of one product, so no key is repeated. Scores stand
    with the keys first: over few keys a softmax down the columns is up to ten times faster.
    """
    B, H, L, _ = q_BHLD.shape
    K, M = k_BKMD.shape[1:3]
    q = q_BHLD.reshape(B * K, H // K * L, -1).transpose(1, 2)
    k = k_BKMD.reshape(B * K, M, -1)
    bias = None if bias_ML is None else bias_ML.repeat(1, H // K)
    if bias is None or scoring.softcap:
        scores = torch.bmm(k, q) * scoring.scale
        if scoring.softcap:
            scores = torch.tanh(scores / scoring.softcap) * scoring.softcap
        if bias is not None:
            scores = scores + bias
    else:
        scores = torch.baddbmm(bias.expand(B * K, -1, -1), k, q, alpha=scoring.scale)
    out = torch.bmm(scores.softmax(1).transpose(1, 2), v_BKMD.reshape(B * K, M, -1))
    lse = torch.logsumexp(scores.float(), 1).view(B, H, L) if normalisers else None
    return out.view(B, H, L, -1), lse


def padded(
    module: nn.Module,
    q_HTD: Tensor,
    k_KTD: Tensor,
    v_KTD: Tensor,
    stream: Stream,
    scoring: Scoring,
) -> Tensor:
    """Attention over rows padded for the attention alone: [T, H, D]."""
    if scoring.softcap:
        raise CannotPack("a soft cap needs flash-attn or a CPU")
    index_BL, real_BL = stream.index(q_HTD.device)
    B, L = index_BL.shape
    q, k, v = (x[:, index_BL].transpose(0, 1) for x in (q_HTD, k_KTD, v_KTD))
    causal = stream.attention == "causal"
    mask = None  # right padding is never looked at by causal rows
    if not causal or scoring.window is not None or stream.prefix:
        mask = _allowed(L, causal, scoring.window, q.device) & real_BL[:, None, None]
    if stream.prefix:
        before = stream.prefix[module]
        k, v = (
            torch.cat([x.expand(B, -1, -1, -1), own], 2)
            for x, own in zip(before, (k, v), strict=True)
        )
        mask = functional.pad(mask.expand(B, 1, L, L), (stream.prefix_length, 0), value=True)  # pyright: ignore[reportOptionalMemberAccess]
    out = functional.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scoring.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return out.transpose(1, 2)[real_BL]


def flash(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    stream: Stream,
    scoring: Scoring,
) -> Tensor:
    """transformers' own flash_attention_2, told where rows begin and end: [1, T, H, D].

    With a prefix a row has more keys than queries; flash-attn aligns the triangle to the end.
    """
    lengths = torch.tensor(stream.lengths, device=query.device, dtype=torch.int32)
    if stream.prefix:
        before = stream.prefix[module]
        key, value = (
            torch.cat(
                [p for own in x.split(list(stream.lengths), dim=2) for p in (b[None], own)], dim=2
            )
            for b, x in zip(before, (key, value), strict=True)
        )
    ends = functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    key_ends = functional.pad((lengths + stream.prefix_length).cumsum(0, dtype=torch.int32), (1, 0))
    out, _ = ALL_ATTENTION_FUNCTIONS["flash_attention_2"](
        module,
        query,
        key,
        value,
        None,
        scaling=scoring.scale,
        sliding_window=scoring.window,
        softcap=scoring.softcap,
        is_causal=stream.attention == "causal",
        cu_seq_lens_q=ends,
        cu_seq_lens_k=key_ends,
        max_length_q=max(stream.lengths),
        max_length_k=max(stream.lengths) + stream.prefix_length,
    )
    return out


def _allowed(length: int, causal: bool, window: int | None, device: Any) -> Tensor:
    """Which key [column] a query [row] sees; windows as transformers' masks draw them."""
    places = torch.arange(length, device=device)
    distance = places[:, None] - places
    allowed = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
    if window is not None:
        allowed &= distance < window if causal else distance.abs() <= window
    return allowed


def _bias(
    stream: Stream, length: int, window: int | None, dtype: torch.dtype, device: Any
) -> Tensor | None:
    """The same as numbers to add, keys first, or None where everything is seen. Once a stream."""
    causal = stream.attention == "causal"
    if not causal and window is None:
        return None
    if (length, window) not in stream.biases:
        allowed = _allowed(length, causal, window, device).T
        zeros = torch.zeros(length, length, dtype=dtype, device=device)
        stream.biases[length, window] = zeros.masked_fill(~allowed, -torch.inf)
    return stream.biases[length, window]
