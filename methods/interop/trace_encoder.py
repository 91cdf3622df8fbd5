"""Trace an encoder of ours through its stages: every one is known.

Each text is computed alone, so that what a batch changes shows as a difference from `encode`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from methods.backbone.forward import forward
from methods.backbone.locks import get_lock
from methods.base import Inputs, PromptType
from methods.encoding.encoder import Encoder
from methods.encoding.vectorize import embed, list_layers
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


def trace_encoder(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    side: PromptType | None = None,
    instruction: str | None = None,
    name: str = "",
) -> EncoderStages:
    """Return what an encoder makes of texts, stage by stage.

    instruction: for a method that uses one; others encode without.
    """
    method, backbone = encoder.method, encoder.backbone
    if method.rows_per_text > 1 or len(method.layers) > 1:
        raise ValueError(
            f"{type(method).__name__} makes a vector of {method.rows_per_text} rows and "
            f"{len(method.layers)} layers; the stages of one row and one layer are shown"
        )
    if not method.uses_instructions:
        instruction = None
    vectors_ND = encoder.encode(texts, prompt_type=side, instruction=instruction)
    inputs = _prepare(encoder, texts, side, instruction)
    tokenizer = describe_tokenizer(backbone.tokenizer)
    cell = encoder.shared.cells[encoder.cell_index]
    layer = "after the final norm" if cell.layer == -1 else f"of layer {cell.layer}"
    traced = []
    for row, ids in enumerate(inputs.ids):
        one = inputs.rows([row])
        hidden_LD, pooled_D = _compute(encoder, one)
        traced.append(_collect(ids, one.pool_mask[0], hidden_LD, pooled_D, method, tokenizer))
    choices, dtype = backbone.choices, str(backbone.identity["dtype"])
    trained = backbone.trained_pooling
    return EncoderStages(
        name=name or encoder.variant.name,
        about=f"dec2vec, {type(method).__name__} on {backbone.identity['name']}"
        + (f", a trained {trained.spec.kind} pooling" if trained else ""),
        vectors_ND=vectors_ND,
        texts=traced,
        attention=_probe(encoder, side, instruction),
        dtype=dtype,
        kernel=f"{choices['kernel']} on {choices['device']}",
        state=layer,
        max_length=method.max_length,
        samples=sample_weights(backbone.model),
        **tokenizer,
    )


def _prepare(
    encoder: Encoder, texts: Sequence[str], side: PromptType | None, instruction: str | None
) -> Inputs:
    with get_lock(encoder.backbone.tokenizer):
        return encoder.method.prepare_inputs(
            texts,
            tokenizer=encoder.backbone.tokenizer,
            prompt_type=side,
            instruction=instruction,
        )


def _compute(encoder: Encoder, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Return the states that are pooled, and the vector, of one row."""
    backbone, cell = encoder.backbone, encoder.shared.cells[encoder.cell_index]
    layers = list_layers(cell, backbone.trained_pooling, backbone.num_layers)
    batches = forward(
        backbone,
        inputs,
        attention=cell.attention,
        layers=layers,
        steering=encoder.shared.steering,
    )
    states = next(iter(batches))[1]
    with torch.inference_mode():
        pooled_1D = embed(cell, backbone.trained_pooling, states, inputs, layers=layers)
    return states[layers[-1]][0].float().cpu().numpy(), pooled_1D[0].float().cpu().numpy()


def _collect(
    ids: list[int],
    mask: list[bool],
    hidden_LD: np.ndarray,
    pooled_D: np.ndarray,
    method: Any,
    tokenizer: dict[str, Any],
) -> TextStages:
    found = find_pooling(hidden_LD, pooled_D, [mask], near=2e-5)
    norm = float(np.linalg.norm(pooled_D))
    return TextStages(
        prepared=tokenizer["decode"](ids),
        ids=ids,
        attended=[True] * len(ids),
        pooling=found[0] if found else str(method.pooling),
        weights_L=found[1] if found else None,
        hidden_LD=hidden_LD,
        pooled_D=pooled_D,
        vector_D=pooled_D / norm if method.normalize and norm else pooled_D,
    )


def _probe(encoder: Encoder, side: PromptType | None, instruction: str | None) -> str:
    """Return the attention, found by changing the last token of a row, alone and in a batch."""
    inputs = _prepare(encoder, PROBE, side, instruction)
    row, longer = inputs.ids
    number = encoder.model.get_input_embeddings().num_embeddings
    changed = [*row[:-1], (row[-1] + 1) % number]
    before, after = _first_states(encoder, [row]), _first_states(encoder, [changed])
    beside = _first_states(encoder, [row, longer]), _first_states(encoder, [changed, longer])
    return name_attention(reaches(before, after), reaches(*beside))


def _first_states(encoder: Encoder, rows: list[list[int]]) -> torch.Tensor:
    """Return the state at the first position of the first row, after the final norm."""
    inputs = Inputs(rows, [[True] * len(row) for row in rows])
    attention = encoder.method.attention
    for places, states in forward(encoder.backbone, inputs, attention=attention, layers=[-1]):
        if 0 in places:
            return states[-1][places.index(0), 0]
    raise AssertionError("forward yields every row")
