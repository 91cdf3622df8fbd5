"""Set causal or bidirectional attention in any decoder, and verify which one it has.

transformers 5 reads the setting in two places: `config.is_causal` decides which mask is built, and
each attention module's own `is_causal` what a kernel does where no mask is given. Setting both
for one forward pass works for every architecture tried here except GPT and GPT-Neo, whose causal
mask is a buffer. Passing `is_causal=False` to the forward call works for fewer: Bloom, GPT-J,
Falcon and CodeGen ignore it, and StableLM and Nemotron stay causal on unpadded batches without any
message. Overriding `_update_causal_mask`, as LLM2Vec's code does, has had no effect since
transformers 4.53.

So every model is verified by test forward passes: `explain_unsupported` changes the last token of
a sequence and compares the states at its first position.

Sliding windows stay in force, on both sides. In hybrids (lfm2, qwen3_next) the attention layers
become bidirectional and recurrent layers stay causal; the probe sees the whole model and passes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from methods.backbone.structure import is_out_of_memory
from methods.base import Attention

PROBE_LENGTH = 8


@contextmanager
def attention_mode(model: nn.Module, attention: Attention) -> Iterator[None]:
    """Set a model's attention for this block; afterwards it is as before.

    Two-sided windows are computed by masks: transformers' flash attention makes them one narrower.
    """
    causal = attention == "causal"
    narrowed = [] if causal else [one for one in list_configs(model) if _narrows_windows(one)]
    modules = [m for m in model.modules() if isinstance(getattr(m, "is_causal", None), bool)]
    before = [(o, o.__dict__.get("is_causal")) for o in [*list_configs(model), *modules]]
    for owner, _ in before:
        owner.is_causal = causal
    for config in narrowed:  # sdpa has no soft caps and no attention sinks
        config._attn_implementation = "sdpa" if getattr(model, "_supports_sdpa", False) else "eager"
    try:
        yield
    finally:
        for config in narrowed:
            config._attn_implementation = "flash_attention_2"
        for owner, value in before:
            if value is None:
                del owner.is_causal
            else:
                owner.is_causal = value


def _narrows_windows(config: Any) -> bool:
    flash = getattr(config, "_attn_implementation", None) == "flash_attention_2"
    return flash and bool(getattr(config, "sliding_window", None))


def read_attention(model: nn.Module) -> Attention:
    """Return the attention that is set at this moment; causal where nothing was set."""
    return "causal" if getattr(list_configs(model)[0], "is_causal", True) else "bidirectional"


def list_configs(model: nn.Module) -> list[Any]:
    """Return every config that some module of a model reads, each once."""
    return list({id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values())


def supports_attention(model: nn.Module, attention: Attention) -> bool:
    """Return whether test forward passes show that a model attends as asked."""
    return explain_unsupported(model, attention) is None


@torch.inference_mode()
def explain_unsupported(model: nn.Module, attention: Attention) -> str | None:
    """Return why a model does not attend as asked, or None where test forward passes show it does.

    Changing the last token of a sequence must change the states at its first position exactly if
    `attention` is bidirectional: in an unpadded batch, and where the sequence is padded beside a
    longer one. A model that raises does not support it, for the reason it gives; running out of
    memory says nothing about the model and is raised.
    """
    try:
        for pads in (0, 2):
            difference = _difference(model, attention, pads)
            if not math.isfinite(difference):
                return "its hidden states are not finite"
            if (difference > 1e-5) != (attention == "bidirectional"):
                reaches = "does not reach" if attention == "bidirectional" else "reaches"
                return f"a changed last token {reaches} the first position"
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return f"its forward pass raises {type(error).__name__}: {str(error)[:300]}"
    return None


def _difference(model: Any, attention: Attention, pads: int) -> float:
    """Return how far a changed last token moves the first position's state, relative to it."""
    vocabulary = model.get_input_embeddings().num_embeddings
    device = model.get_input_embeddings().weight.device
    tokens = [3 + 7 * position % max(vocabulary - 4, 1) for position in range(PROBE_LENGTH)]
    ids_BL = torch.tensor([tokens, tokens], device=device) % vocabulary
    mask_BL = torch.ones_like(ids_BL)
    mask_BL[1, PROBE_LENGTH - pads :] = 0
    changed_BL = ids_BL.clone()
    last = PROBE_LENGTH - pads - 1
    changed_BL[1, last] = (changed_BL[1, last] + 1) % vocabulary
    mask = None if pads == 0 else mask_BL
    with attention_mode(model, attention):
        first = model(ids_BL, attention_mask=mask, use_cache=False).last_hidden_state[1, 0].float()
        other = model(changed_BL, attention_mask=mask, use_cache=False).last_hidden_state[1, 0]
    difference = (first - other.float()).abs().max()
    scale = first.abs().max()
    return float(difference / scale if scale else difference)
