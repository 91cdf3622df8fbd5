"""Load a model and make it trainable: new tokens, dropout, adapters and a pooler."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import torch
from torch import nn

from methods.backbone.attention import list_configs
from methods.backbone.layers import resolve_layer
from methods.backbone.loader import Backbone, BackboneSpec, build_backbone
from methods.backbone.recomputation import recompute_layers
from methods.backbone.trained_pooling import TrainedPooling
from methods.base import Method
from methods.training.objective import Objective
from methods.training.recipe import Recipe, RunOptions, Trainable
from methods.training.trainable import (
    add_tokens,
    attach,
    count_parameters,
    find_embedding_rows,
)

log = logging.getLogger(__name__)
HOLDS_ALL = 1_000_000_000  # parameters up to which a card holds the activations of all layers


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A loaded model with what is trained in it.

    method: its layer is a number of this model, or -1. trained: a PeftModel around the backbone's
    model, or that model itself if all weights are trained. tokens_added: those that the vocabulary
    lacked.
    """

    backbone: Backbone
    method: Method
    trained: Any
    tokens_added: list[str]


def prepare_model(
    spec: BackboneSpec,
    method: Method,
    recipe: Recipe,
    *,
    objective: Objective,
    run_options: RunOptions,
) -> Prepared:
    """Load a model and attach what a recipe trains.

    spec: of frozen, unpacked weights. Raises ValueError for a model that cannot be trained by this
    recipe.
    """
    backbone = build_backbone(spec)
    backbone.require_attention(method.attention)
    if backbone.trained_pooling is not None:
        raise ValueError(
            f"{spec.adapters[-1]} has a {backbone.trained_pooling.spec.kind} pooler, which fits "
            f"only the states it was trained on; train on its parent adapters (below/) instead"
        )
    own = objective.new_tokens(recipe, backbone.tokenizer)
    wanted = (*method.new_tokens, *own)
    tokens_added = add_tokens(backbone.model, backbone.tokenizer, wanted)
    method = dataclasses.replace(method, layer=resolve_layer(method.layer, backbone.num_layers))
    set_attention_dropout(backbone.model, recipe.attention_dropout)
    rows = find_embedding_rows(method, recipe.trainable, backbone.tokenizer)
    # Rows of tokens that the objective added are random, so they are trained in any case.
    added = [token for token in own if token in tokens_added]
    rows += backbone.tokenizer.convert_tokens_to_ids(added)
    torch.manual_seed(run_options.seed)
    half = backbone.identity["dtype"].removeprefix("nf4_")
    backbone.autocast = half if half != "float32" else None  # as the trainer's own steps
    trained = _attach(backbone, recipe.trainable, rows=list(dict.fromkeys(rows)))
    if recomputes(backbone, run_options):
        recompute_layers(backbone.model)
        log.info("activations are recomputed; run.gradient_checkpointing=false holds them instead")
    log.info("trained: %d of %d numbers", *count_parameters(trained, backbone.trained_pooling))
    return Prepared(backbone, method, trained, tokens_added)


def recomputes(backbone: Backbone, run_options: RunOptions) -> bool:
    """Return whether layers are recomputed in the backward pass (run.gradient_checkpointing)."""
    if run_options.gradient_checkpointing != "auto":
        return run_options.gradient_checkpointing
    _, parameters = count_parameters(backbone.model)
    return backbone.choices["device"].startswith("cuda") and parameters > HOLDS_ALL


def set_attention_dropout(model: Any, share: float) -> None:
    """Set the dropout of attention weights in training, whatever an architecture calls it."""
    for holder in [*list_configs(model), *model.modules()]:
        names = ["attention_dropout", "attn_dropout", "attn_pdrop"]
        if type(holder).__name__.endswith("Attention"):
            names.append("dropout")
        for name in names:
            before = getattr(holder, name, None)
            if isinstance(before, nn.Dropout):
                before.p = share
            elif isinstance(before, (int, float)):
                setattr(holder, name, share)


def _attach(backbone: Backbone, trainable: Trainable, *, rows: list[int]) -> Any:
    """Attach adapters and a pooler; return the model with what is trained."""
    trained = attach(backbone.model, trainable, rows=rows)
    if trainable.pooler is not None:
        text_config = backbone.model.config.get_text_config()
        backbone.trained_pooling = TrainedPooling(
            trainable.pooler,
            hidden_size=text_config.hidden_size,
            num_layers=backbone.num_layers,
        ).to(backbone.choices["device"])
    return trained
