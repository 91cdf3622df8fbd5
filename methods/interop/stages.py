"""The stages from a text to its vector, as each kind of encoder shows them.

L tokens of a row, D hidden size, N texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

# Two rows that tell causal from bidirectional attention, alone and beside a longer one.
PROBE = (
    "one two three four",
    "a longer text, so that the first one is padded where rows are padded",
)
REACHES = 1e-5  # relative change of a state that a changed token causes, or none


@dataclass(frozen=True, eq=False)
class TextStages:
    """What an encoder makes of one text alone; None for what it does not show.

    prepared: the text that the tokens spell, special tokens in brackets of their own.
    attended: which tokens attention may see. weights_L: what each token's state weighs in the
        pooled vector. pooling: its name. vector_D: what is returned.
    fault: the error that the encoder raises for this text.
    """

    prepared: str | None = None
    ids: list[int] | None = None
    attended: list[bool] | None = None
    weights_L: np.ndarray | None = None
    pooling: str | None = None
    hidden_LD: np.ndarray | None = None
    pooled_D: np.ndarray | None = None
    vector_D: np.ndarray | None = None
    fault: str | None = None


@dataclass(frozen=True, eq=False)
class EncoderStages:
    """What an encoder makes of several texts, and how it is set up; None for what is not known.

    name: as the user named it. about: what it is, in a line. vectors_ND: what one call for all
        texts returns. attention: found by the probe. state: which hidden state is pooled.
    max_length: the most tokens of a row. samples: some values of every weight, by name.
    special: the special tokens by id, and ids by `bos`, `eos` and `pad`.
    """

    name: str
    about: str
    vectors_ND: np.ndarray = field(repr=False)
    texts: Sequence[TextStages] = field(repr=False)
    attention: str | None = None
    dtype: str | None = None
    kernel: str | None = None
    state: str | None = None
    max_length: int | None = None
    samples: Mapping[str, tuple[tuple[int, ...], np.ndarray]] | None = field(
        default=None, repr=False
    )
    special: Mapping[int, str] = field(default_factory=dict, repr=False)
    roles: Mapping[str, int | None] = field(default_factory=dict)
    decode: Callable[[Sequence[int]], str] | None = None


def describe_tokenizer(tokenizer: Any) -> dict[str, Any]:
    """Return the fields of EncoderStages that a tokenizer gives: special, roles, decode."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    special = {id: str(token) for id, token in added.items() if token.special}
    for id in tokenizer.all_special_ids:
        special.setdefault(id, str(tokenizer.convert_ids_to_tokens(id)))
    roles = {role: getattr(tokenizer, f"{role}_token_id", None) for role in ("bos", "eos", "pad")}
    return {
        "special": special,
        "roles": roles,
        "decode": lambda ids: decode_marked(ids, tokenizer, special),
    }


def decode_marked(ids: Sequence[int], tokenizer: Any, special: Mapping[int, str]) -> str:
    """Return the text that ids spell, each special token in brackets: `⟦</s>⟧`.

    So a special token differs from a text that only looks like one.
    """
    parts: list[str] = []
    run: list[int] = []
    for id in [*ids, None]:
        if id is None or id in special:
            if run:
                parts.append(tokenizer.decode(run, clean_up_tokenization_spaces=False))
            run = []
            if id is not None:
                parts.append(f"⟦{special[id]}⟧")
        else:
            run.append(id)
    return "".join(parts)


def name_attention(alone: bool, beside: bool) -> str:
    """Return the attention by whether a changed last token reaches the first position.

    alone: of one row. beside: of the same row in a batch with a longer one.
    """
    if alone == beside:
        return "bidirectional" if alone else "causal"
    ways = ("bidirectional", "causal") if alone else ("causal", "bidirectional")
    return f"{ways[0]} alone, {ways[1]} in a batch"


def reaches(before_D: torch.Tensor, after_D: torch.Tensor) -> bool:
    """Return whether a state changed by more than rounding."""
    before_D, after_D = before_D.float(), after_D.float()
    scale = float(before_D.abs().max()) or 1.0
    return float((before_D - after_D).abs().max()) / scale > REACHES


def sample_weights(
    model: nn.Module, number: int = 64
) -> dict[str, tuple[tuple[int, ...], np.ndarray]]:
    """Return the shape and some values of every weight and bias, evenly spread over it.

    A merged adapter changes nearly all values of a weight, so a few of them show it.
    """
    found = {}
    for place, module in model.named_modules():
        for name in ("weight", "bias"):
            tensor = getattr(module, name, None)
            if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
                continue
            flat = tensor.detach().reshape(-1)
            chosen = torch.arange(min(number, len(flat))) * max(len(flat) // number, 1)
            values = flat[chosen.to(flat.device)].float().cpu().numpy()
            path = f"{place}.{name}".replace("base_model.model.", "").replace(".base_layer", "")
            found[path] = (tuple(tensor.shape), values)
    return found
