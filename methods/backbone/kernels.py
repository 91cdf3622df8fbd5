"""Compute attention within packed sequences without flash attention: in groups or padded.

B sequences of a group, H query heads, K key heads (H = G K), T tokens of the packed batch, L of a
sequence, M keys of a sequence, P of a shared prefix, D head size.

Sequences of equal length stand together (the batch is sorted), so on a CPU a group of them is a
view and one call. On CUDA flash attention takes the whole batch (flash.py); where it cannot run,
sequences are padded for the attention alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.backbone.packed_batch import CannotPack, PackedBatch, Padding, Scoring

# Up to this length two half-precision matrix products beat the CPU's fused kernel (at 1,024 tokens
# of 11 each 0.4 ms against 2.6); without AMX tiles (Zen 5) they do
# at any length whose scores fit the caches.
SHORT = 64
LONG = 1024


def attend_grouped(
    module: nn.Module,
    q_HTD: Tensor,
    k_KTD: Tensor,
    v_KTD: Tensor,
    batch: PackedBatch,
    scoring: Scoring,
) -> Tensor:
    """Return the attention of each group of equal lengths in turn: [T, H, D]."""
    (H, T, _), D = q_HTD.shape, v_KTD.shape[-1]
    out_THD = q_HTD.new_empty(T, H, D)
    logsumexp_TH = None
    if batch.prefix:  # explicit dtype: a load in another thread may change torch's default
        logsumexp_TH = torch.empty(T, H, dtype=torch.float32, device=q_HTD.device)
    for start, rows, length in batch.groups:
        here = slice(start, start + rows * length)
        q, k, v = (
            x[:, here].unflatten(1, (rows, length)).transpose(0, 1) for x in (q_HTD, k_KTD, v_KTD)
        )
        out, lse = _attend_group(q, k, v, batch, scoring)
        out_THD[here].unflatten(0, (rows, length)).copy_(out.transpose(1, 2))
        if logsumexp_TH is not None and lse is not None:
            logsumexp_TH[here].unflatten(0, (rows, length)).copy_(lse.transpose(1, 2))
    if batch.prefix is None or logsumexp_TH is None:
        return out_THD
    # All tokens attend to the prefix in one call; the normalisers of the softmaxes merge the two.
    keys, values = batch.prefix[module]
    out, lse = _attend_explicitly(
        q_HTD[None], keys[None], values[None], None, scoring, normalisers=True
    )
    assert lse is not None
    return merge_prefix(out_THD, logsumexp_TH, out[0].transpose(0, 1), lse[0].T)


def merge_prefix(own_THD: Tensor, own_TH: Tensor, before_THD: Tensor, before_TH: Tensor) -> Tensor:
    """Return attention over the prefix and a sequence's own tokens from the attention over each,
    and the logs of both softmaxes' sums."""
    share_TH1 = torch.sigmoid(before_TH - own_TH)[..., None].to(own_THD.dtype)
    return torch.lerp(own_THD, before_THD, share_TH1)


def _attend_group(
    q: Tensor, k: Tensor, v: Tensor, batch: PackedBatch, scoring: Scoring
) -> tuple[Tensor, Tensor | None]:
    """Return the attention of B sequences of one length [B, H, L, D] and, where a shared prefix
    must be merged in, the log of the softmax's sums [B, H, L]."""
    causal, length, window = batch.attention == "causal", q.shape[2], scoring.window
    # the fused kernel that returns normalisers needs values of the same size as keys
    unfused = scoring.softcap or (batch.prefix and q.shape[-1] != v.shape[-1])
    if unfused or (not batch.fused and _explicit_is_faster(q, length)):
        bias = _make_bias(batch, length, window, q.dtype, q.device)
        return _attend_explicitly(q, k, v, bias, scoring, normalisers=bool(batch.prefix))
    if batch.prefix:
        groups = q.shape[1] // k.shape[1]
        k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, 0.0, causal, scale=scoring.scale
        )
    mask = None if window is None else _make_mask(length, causal, window, q.device)
    out = functional.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        is_causal=causal and mask is None,
        scale=scoring.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return out, None


def _explicit_is_faster(q: Tensor, length: int) -> bool:
    if q.dtype not in (torch.bfloat16, torch.float16):
        return False
    return length <= (SHORT if torch.cpu.get_capabilities().get("amx_bf16") else LONG)


def _attend_explicitly(
    q_BHLD: Tensor,
    k_BKMD: Tensor,
    v_BKMD: Tensor,
    bias_ML: Tensor | None,
    scoring: Scoring,
    *,
    normalisers: bool,
) -> tuple[Tensor, Tensor | None]:
    """Return attention by two matrix products around a softmax [B, H, L, D] and, if asked, the
    log of the softmax's sums [B, H, L].

    The G query heads of a key head are columns of one product, so no key is repeated. Scores have
    the keys as rows: over few keys a softmax down the columns is up to ten times faster.
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


def attend_padded(
    module: nn.Module,
    q_HTD: Tensor,
    k_KTD: Tensor,
    v_KTD: Tensor,
    batch: PackedBatch,
    scoring: Scoring,
) -> Tensor:
    """Return the attention of sequences padded for this call alone: [T, H, D].

    Kernels that take a mask on CUDA take no grouped heads with it: torch would compute in steps,
    with all scores in float32. So keys are repeated where there is a mask.
    """
    if scoring.softcap:
        raise CannotPack("a soft cap needs flash-attn or a CPU")
    causal, groups = batch.attention == "causal", q_HTD.shape[0] // k_KTD.shape[0]
    parts_THD = []
    for padding in batch.make_paddings(q_HTD.device):
        q, k, v = (x[:, padding.index_BL].transpose(0, 1) for x in (q_HTD, k_KTD, v_KTD))
        make = partial(_make_padded_mask, batch, padding, scoring.window)
        mask = batch.share((padding, scoring.window), make)
        if batch.prefix:
            k, v = (
                torch.cat([x.expand(len(own), -1, -1, -1), own], 2)
                for x, own in zip(batch.prefix[module], (k, v), strict=True)
            )
        if mask is not None and groups > 1:
            k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
        out_BHLD = functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=causal and mask is None,
            scale=scoring.scale,
            enable_gqa=mask is None and groups > 1,
        )
        parts_THD.append(out_BHLD.transpose(1, 2).flatten(0, 1)[padding.cells_T])
    return torch.cat(parts_THD)


def _make_padded_mask(batch: PackedBatch, padding: Padding, window: int | None) -> Tensor | None:
    """Return what each query of padded sequences may attend to, or None where `is_causal` says it:
    nothing attends to padding on its right."""
    causal, length = batch.attention == "causal", padding.index_BL.shape[1]
    device = padding.index_BL.device
    if window is not None and length <= window:
        window = None
    if causal and window is None and not batch.prefix:
        return None
    mask = None
    if causal or window is not None:
        mask = _make_mask(length, causal, window, device)[None, None]
    if not causal and padding.real_BL is not None:
        real = padding.real_BL[:, None, None]
        mask = real if mask is None else mask & real
    if mask is None or not batch.prefix:
        return mask
    return functional.pad(mask, (batch.prefix_length, 0), value=True)


def _make_mask(length: int, causal: bool, window: int | None, device: Any) -> Tensor:
    """Return which key [column] a query [row] may attend to; windows as in transformers' masks."""
    places = torch.arange(length, device=device)
    distance = places[:, None] - places
    allowed = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
    if window is not None:
        allowed &= distance < window if causal else distance.abs() <= window
    return allowed


def _make_bias(
    batch: PackedBatch, length: int, window: int | None, dtype: torch.dtype, device: Any
) -> Tensor | None:
    """Return the mask as numbers to add, keys as rows, or None where nothing is masked.

    Computed once for a packed batch.
    """
    causal = batch.attention == "causal"
    if not causal and window is None:
        return None

    def make() -> Tensor:
        allowed = _make_mask(length, causal, window, device).T
        zeros = torch.zeros(length, length, dtype=dtype, device=device)
        return zeros.masked_fill(~allowed, -torch.inf)

    return batch.share(("bias", length, window), make)
