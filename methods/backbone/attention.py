"""Causal or bidirectional attention for any decoder, and the probes that prove which one it is.

transformers 5 reads the wish in two places: `config.is_causal` decides which mask is built, and
each attention module's own `is_causal` what a kernel does where no mask is given. Setting both,
for the length of one forward pass, reaches every architecture tried here but GPT and GPT-Neo,
whose triangle is a buffer. Passing `is_causal=False` to the forward call reaches fewer: Bloom,
GPT-J, Falcon and CodeGen ignore it and StableLM and Nemotron stay causal on unpadded batches
without a word. Overriding `_update_causal_mask`, as LLM2Vec's code does, reaches none since
transformers 4.53.

So every model is verified by test forward passes: `disobeys` changes the last token of a row and
looks at its first position.

Sliding windows stay in force, to both sides. In hybrids (lfm2, qwen3_next) attention layers open
and recurrent layers stay causal; the probe sees the whole model and passes.
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
def attending(model: nn.Module, attention: Attention) -> Iterator[None]:
    """Within this block the model's forward passes attend as asked; after it, as before."""
    causal = attention == "causal"
    modules = [m for m in model.modules() if isinstance(getattr(m, "is_causal", None), bool)]
    before = [(o, o.__dict__.get("is_causal")) for o in [*configs_of(model), *modules]]
    for owner, _ in before:
        owner.is_causal = causal
    try:
        yield
    finally:
        for owner, value in before:
            if value is None:
                del owner.is_causal
            else:
                owner.is_causal = value


def configs_of(model: nn.Module) -> list[Any]:
    """Every config that some module of a model reads, once."""
    return list({id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values())


def obeys(model: nn.Module, attention: Attention) -> bool:
    """Whether `disobeys` finds nothing to say against it."""
    return disobeys(model, attention) is None


@torch.inference_mode()
def disobeys(model: nn.Module, attention: Attention) -> str | None:
    """Why a model does not attend as asked; None if it does, and then it was seen to.

    Changing a row's last token must change its first position exactly as `attention` says, in an
    unpadded batch and in a row that is padded beside a longer one. A model that raises cannot, for
    the reason it gives. Running out of memory is no such reason and is raised.
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
    """How far a changed last token moves the first position, relative to its largest value."""
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
    with attending(model, attention):
        first = model(ids_BL, attention_mask=mask, use_cache=False).last_hidden_state[1, 0].float()
        other = model(changed_BL, attention_mask=mask, use_cache=False).last_hidden_state[1, 0]
    difference = (first - other.float()).abs().max()
    scale = first.abs().max()
    return float(difference / scale if scale else difference)
