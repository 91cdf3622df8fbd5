"""Trace a SentenceTransformer through its stages, by watching its own `encode`.

Nothing of its pipeline is repeated here: ids and attention mask are those that reach the
transformer, the mask and the states those that reach the pooling module, and the pooling is found
by its numbers. So custom modules are traced as well, and every version from 5 on.

B rows, L tokens of a row, D hidden size.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from methods.backbone.structure import is_out_of_memory
from methods.base import PromptType
from methods.interop.pooling_fit import find_pooling
from methods.interop.stages import (
    PROBE,
    EncoderStages,
    TextStages,
    describe_tokenizer,
    name_attention,
    reaches,
    sample_weights,
)
from methods.interop.watch import Pass, locate, watch

FAULTS = (RuntimeError, ValueError, TypeError, IndexError, KeyError)  # of a model or a tokenizer


def trace_sentence_transformer(
    model: Any,
    texts: Sequence[str],
    *,
    side: PromptType | None = None,
    name: str = "",
    options: Mapping[str, Any] | None = None,
) -> EncoderStages:
    """Return what a SentenceTransformer makes of texts, stage by stage.

    side: `query` and `document` call encode_query and encode_document, None calls encode.
    options: passed to it (prompt, prompt_name, normalize_embeddings, truncate_dim ...).
    """
    encode = getattr(model, f"encode_{side}" if side else "encode")
    encode = functools.partial(encode, **{"show_progress_bar": False, **(options or {})})
    transformer = _find_transformer(model)
    vectors_ND = np.asarray(encode(list(texts)), dtype=np.float32)
    tokenizer = getattr(model, "tokenizer", None)
    known = hasattr(tokenizer, "all_special_ids")  # which a bare tokenizers.Tokenizer has not
    described = describe_tokenizer(tokenizer) if known else {}
    config = getattr(transformer, "config", None)
    weights = next(model.parameters(), None)
    dtype = None if weights is None else str(weights.dtype).removeprefix("torch.")
    kernel = getattr(config, "_attn_implementation", None)
    traced = [
        _trace_text(model, transformer, encode, text, described, near=_nearness(dtype))
        for text in texts
    ]
    return EncoderStages(
        name=name or "sentence-transformers",
        about="sentence-transformers, " + ", ".join(type(part).__name__ for part in model),
        vectors_ND=vectors_ND,
        texts=traced,
        attention=None if transformer is None else _probe(model, transformer, encode),
        dtype=dtype,
        kernel=f"{kernel} on {model.device}" if kernel else None,
        state=None if transformer is None else "after the final norm",
        max_length=_find_max_length(model),
        samples=None if transformer is None else sample_weights(transformer),
        **described,
    )


def _find_max_length(model: Any) -> int | None:
    """Return the most tokens of a row; None where the tokenizer only has transformers' 1e30."""
    length = model.max_seq_length
    return None if length is None or length > 1e9 else int(length)


def _nearness(dtype: str | None) -> float:
    return 2e-5 if dtype == "float32" else 2e-2


def _find_transformer(model: Any) -> Any:
    """Return the transformers model inside, or None (static embeddings have none)."""
    from transformers import PreTrainedModel

    if (found := getattr(model, "transformers_model", None)) is not None:
        return found
    return next((part for part in model.modules() if isinstance(part, PreTrainedModel)), None)


def _trace_text(
    model: Any, transformer: Any, encode: Any, text: str, tokenizer: Any, *, near: float
) -> TextStages:
    seen = Pass()
    try:
        with watch(model, transformer, seen):
            vector_D = np.asarray(encode([text]), dtype=np.float32)[0]
    except FAULTS as error:
        if is_out_of_memory(error):
            raise
        return TextStages(fault=f"{type(error).__name__}: {' '.join(str(error).split())[:100]}")
    pooled_D, hidden_LD, masks = _find_pooled(seen)
    if seen.ids_BL is None:
        return TextStages(pooled_D=pooled_D, vector_D=vector_D)
    ids = seen.ids_BL[0].tolist()
    attended = [True] * len(ids) if seen.mask_BL is None else seen.mask_BL[0].bool().tolist()
    found = None
    if hidden_LD is not None and pooled_D is not None:
        found = find_pooling(hidden_LD, pooled_D, [*masks, attended], near=near)
    return TextStages(
        prepared=tokenizer["decode"](ids) if tokenizer else None,
        ids=ids,
        attended=attended,
        pooling=found[0] if found else None,
        weights_L=found[1] if found else None,
        hidden_LD=hidden_LD if hidden_LD is not None and len(hidden_LD) == len(ids) else None,
        pooled_D=pooled_D,
        vector_D=vector_D,
    )


def _find_pooled(seen: Pass) -> tuple[np.ndarray | None, np.ndarray | None, list[list[bool]]]:
    """Return the vector as it leaves the pooling, the states it was made of, and their masks."""
    for part, before, after in seen.modules:
        pooled = after.get("sentence_embedding")
        if not isinstance(pooled, Tensor):
            continue
        hidden = before.get("token_embeddings")
        hidden = hidden if isinstance(hidden, Tensor) else seen.hidden_BLD
        masks = []
        mask = before.get("attention_mask")
        if isinstance(mask, Tensor) and mask.ndim == 2:
            whole = mask[0].bool().tolist()
            prompt = int(before.get("prompt_length") or 0)
            if prompt and not getattr(part, "include_prompt", True):
                masks.append([one and place >= prompt for place, one in enumerate(whole)])
            masks.append(whole)
        return _fetch(pooled), None if hidden is None else _fetch(hidden), masks
    return None, None, []


def _fetch(values: Tensor) -> np.ndarray:
    return values[0].detach().float().cpu().numpy()


def _probe(model: Any, transformer: Any, encode: Any) -> str | None:
    """Return the attention, found by changing the last token of a row, alone and in a batch."""

    def run(texts: Sequence[str], row: list[int] | None = None) -> Pass:
        seen = Pass(row)
        with watch(model, transformer, seen):
            encode(list(texts))
        return seen

    alone = run(PROBE[:1])
    if alone.ids_BL is None or alone.hidden_BLD is None or alone.ids_BL.shape[1] < 2:
        return None
    kept = slice(None) if alone.mask_BL is None else alone.mask_BL[0].bool().cpu()
    row = alone.ids_BL[0].cpu()[kept].tolist()
    found = []
    for texts in (PROBE[:1], PROBE):
        before, after = run(texts), run(texts, row)
        assert before.ids_BL is not None and before.hidden_BLD is not None
        assert after.hidden_BLD is not None
        if (place := locate(before.ids_BL, row)) is None:
            return None
        found.append(reaches(before.hidden_BLD[place], after.hidden_BLD[place]))
    return name_attention(*found)
