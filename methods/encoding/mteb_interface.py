"""Implement what mteb asks of an encoder; mteb itself is imported only when it asks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods.base import Method
from methods.encoding.instructions import Instructions
from methods.encoding.post import NO_POST, Post
from methods.identity import digest
from methods.pooling_names import identify_pooling

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta


@dataclass(frozen=True)
class Variant:
    """How mteb's results name a method on a backbone: the model's name and revision, and what mteb
    calls an experiment, whose digest covers everything that decides a vector."""

    name: str
    revision: str
    experiment: dict[str, Any]

    @cached_property
    def model_meta(self) -> ModelMeta:
        """Return mteb's description of a model it does not know; cosine similarity, text only."""
        from mteb.models.model_meta import ModelMeta, ScoringFunction

        return ModelMeta.create_empty(
            {
                "name": self.name,
                "revision": self.revision,
                "experiment_kwargs": self.experiment,
                "similarity_fn_name": ScoringFunction.COSINE,
                "modalities": ["text"],
            }
        )


def describe_variant(
    cell: Method,
    *,
    method: str,
    identity: dict[str, Any],
    instructions: Instructions,
    adapters: Sequence[str] = (),
    post: Post = NO_POST,
) -> Variant:
    """Return how mteb's results name a cell, for the command line and for Python alike.

    cell: a method, its layer resolved. method: its name in conf/method. identity: the backbone's.
    adapters: the folders that were asked for. post: of the vectors; none is not named.
    """
    table = dataclasses.asdict(instructions) if cell.uses_instructions else None
    described = {**describe_method(cell), "identity": identity, "instructions": table}
    described["pooling"] = identify_pooling(cell.pooling)
    if post.steps:
        described["post"] = post.identify()
    return Variant(
        identity["name"],
        identity["weights"].replace(":", "-"),
        {
            "method": method,
            "attention": cell.attention,
            "pooling": cell.pooling,
            "layer": cell.layer,
            "adapter": "+".join(Path(adapter).name for adapter in adapters) or None,
            "digest": digest(described),
            **({"post": post.name} if post.steps else {}),
        },
    )


def describe_method(method: Method) -> dict[str, Any]:
    """Return a method's class and all its fields, as records state them."""
    values = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    return {"class": f"{type(method).__module__}.{type(method).__qualname__}", **values}


class MtebInterface:
    """mteb's encoder protocol, but for `encode`."""

    variant: Variant

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """Return mteb's description of this encoder."""
        return self.variant.model_meta

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosine similarity [N, M] of each of N vectors with each of M."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosine similarity [N] of N vectors with N others, pair by pair."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)
