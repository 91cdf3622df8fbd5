"""Variable-length flash attention in plain torch, with the checks that CUDA kernels make.

Two signatures, torch's `varlen_attn` and flash-attn's `flash_attn_varlen_func`, over one
computation. `install` puts both where the product looks for them.
"""

import importlib.machinery
import sys
import types

import torch

from methods.backbone import flash, loader

HALF = (torch.bfloat16, torch.float16)


class Calls(list):
    """What the kernels were asked for: (package, window, sequences, longest query, longest key).

    dtypes: what they compute in. refuse: an error to raise instead.
    """

    dtypes = HALF
    refuse = None


def attend(calls, package, q, k, v, ends, longest, window, scale, softcap):
    calls.append((package, window, len(ends[0]) - 1, *longest))
    if calls.refuse is not None:
        raise calls.refuse
    assert q.dtype == k.dtype == v.dtype and q.dtype in calls.dtypes, "half precision alone"
    assert q.shape[-1] == k.shape[-1] == v.shape[-1] and q.shape[-1] % 8 == 0, "head sizes"
    assert all(x.stride(-1) == 1 for x in (q, k, v)), "the last dimension is contiguous"
    assert all(e.dtype == torch.int32 and e.is_contiguous() for e in ends), "boundaries"
    (q_ends, k_ends), groups = [e.tolist() for e in ends], q.shape[1] // k.shape[1]
    assert q_ends[-1] == len(q) and k_ends[-1] == len(k)
    out, lse = torch.empty_like(q), torch.empty(q.shape[1], len(q))
    for a, b, c, d in zip(q_ends, q_ends[1:], k_ends, k_ends[1:], strict=False):
        assert b - a <= longest[0] and d - c <= longest[1]
        keys, values = (x[c:d].repeat_interleave(groups, 1).float() for x in (k, v))
        scores = torch.einsum("lhd,mhd->hlm", q[a:b].float(), keys) * scale
        if softcap:
            scores = torch.tanh(scores / softcap) * softcap
        distance = torch.arange(b - a)[:, None] + (d - c) - (b - a) - torch.arange(d - c)
        left, right = window
        seen = torch.ones_like(distance, dtype=torch.bool)
        seen &= (distance <= left) if left >= 0 else True
        seen &= (distance >= -right) if right >= 0 else True
        scores = scores.masked_fill(~seen, -torch.inf)
        out[a:b] = torch.einsum("hlm,mhd->lhd", scores.softmax(-1), values).to(q.dtype)
        lse[:, a:b] = scores.logsumexp(-1)
    return out, lse


def install(monkeypatch, *packages):
    """Let this machine have the kernels of some `packages` (varlen, flash_attention_2); return
    the list of calls to them."""
    calls = Calls()

    def varlen_attn(
        query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *,
        return_aux=None, scale=None, window_size=(-1, -1), enable_gqa=False,
    ):  # fmt: skip
        assert enable_gqa or query.shape[1] == key.shape[1]
        ends, longest = (cu_seq_q, cu_seq_k), (max_q, max_k)
        found = attend(calls, "varlen", query, key, value, ends, longest, window_size, scale, None)
        return found if return_aux is not None and return_aux.lse else found[0]

    def flash_attn_varlen_func(
        q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0,
        softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, alibi_slopes=None,
        deterministic=False, return_attn_probs=False, block_table=None,
    ):  # fmt: skip
        ends, longest = (cu_seqlens_q, cu_seqlens_k), (max_seqlen_q, max_seqlen_k)
        window = (window_size[0], 0) if causal else window_size
        scale = q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale
        found = attend(calls, "flash_attention_2", q, k, v, ends, longest, window, scale, softcap)
        return (*found, None) if return_attn_probs else found[0]

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
    module = types.ModuleType("flash_attn")
    module.__spec__ = importlib.machinery.ModuleSpec("flash_attn", None)
    module.flash_attn_varlen_func = flash_attn_varlen_func
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    monkeypatch.setattr(loader, "list_packed_layouts", lambda *_: [*packages, "padded"])
    return calls


def take_float32(monkeypatch, calls):
    """Let the kernels compute in float32, so that results can be compared to the last digits."""
    monkeypatch.setattr(flash, "HALF", (torch.float32,))
    calls.dtypes = (torch.float32,)
