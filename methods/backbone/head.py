"""The language-model head that a backbone is loaded without."""

from typing import Any

import torch
from torch import Tensor

from methods.backbone.loader import Backbone, BackboneSpec, peek


def load_head(spec: BackboneSpec, backbone: Backbone) -> Tensor:
    """The head's weight [V, D], frozen: the input embeddings where they are tied, else loaded."""
    checkpoint, config = peek(spec)
    embeddings = backbone.model.get_input_embeddings().weight
    if config.get_text_config().tie_word_embeddings or checkpoint.weights is not None:
        return embeddings.detach()
    from transformers import AutoModelForCausalLM

    whole: Any = AutoModelForCausalLM.from_pretrained(
        checkpoint.location,
        revision=checkpoint.revision,
        dtype=embeddings.dtype,
        trust_remote_code=spec.remote_code,
    )
    head: Tensor = whole.get_output_embeddings().weight.detach().to(embeddings.device)
    if len(head) < len(embeddings):  # tokens that were added are never predicted
        head = torch.cat([head, head.new_zeros(len(embeddings) - len(head), head.shape[1])])
    return head
