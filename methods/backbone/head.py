"""Load the language-model head that a backbone is loaded without."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from methods.backbone.verify import check_finite
from methods.backbone.weights import load_verified, read_model_config

if TYPE_CHECKING:
    from methods.backbone.loader import Backbone, BackboneSpec

log = logging.getLogger(__name__)


def load_head(spec: BackboneSpec, backbone: Backbone) -> Tensor:
    """Return the head's weight [V, D], frozen: the tied input embeddings, else loaded.

    Raises ValueError for a checkpoint that has no head, or none that fits.
    """
    checkpoint = spec.source.fetch()
    config = read_model_config(checkpoint, spec.remote_code)
    embeddings = backbone.model.get_input_embeddings().weight
    if checkpoint.weights is not None:
        return embeddings.detach()
    tied = config.get_text_config().tie_word_embeddings
    if tied and not backbone.left_over:
        return embeddings.detach()
    from transformers import AutoModelForCausalLM

    whole: Any
    whole, _ = load_verified(
        AutoModelForCausalLM,
        checkpoint.location,
        where=f"{spec.name} with its language-model head",
        revision=checkpoint.revision,
        dtype=embeddings.dtype,
        trust_remote_code=spec.remote_code,
    )
    if getattr(whole.get_output_embeddings(), "bias", None) is not None:
        log.warning("%s: the bias of its language-model head is not used", spec.name)
    check_finite(whole.get_output_embeddings(), f"the language-model head of {spec.name}")
    weight = whole.get_output_embeddings().weight
    if tied and weight is whole.get_input_embeddings().weight:
        return embeddings.detach()  # the file holds the same weight twice
    head: Tensor = weight.detach().to(embeddings.device)
    if len(head) < len(embeddings):  # added tokens are never predicted
        head = torch.cat([head, head.new_zeros(len(embeddings) - len(head), head.shape[1])])
    return head
