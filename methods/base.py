"""The contract: what a method is and what it hands to the backbone.

A method says two things: what is encoded (`prepare_inputs`) and what is pooled (`pool`). Everything
else (weights, attention, batching, tasks, records) is shared. A plugin imports only this module.

B rows of a batch, L positions, D hidden size, N texts, R rows of a text, K layers of a vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from methods.fields import check_fields
from methods.inputs import Inputs
from methods.pooling_names import Pooling, check_pooling, pool_by_name
from methods.spans import Span, encode_spans
from methods.steering import Places, Read, Site
from methods.tokens import (
    added_by,
    bos_ids,
    clean_sentence,
    eos_ids,
    first_tokens,
    note_ending,
    token_ids,
    tokenize,
)

__all__ = [
    "Attention",
    "Inputs",
    "Method",
    "Places",
    "Pooling",
    "PromptType",
    "Read",
    "Site",
    "Span",
    "added_by",
    "bos_ids",
    "clean_sentence",
    "encode_spans",
    "eos_ids",
    "first_tokens",
    "note_ending",
    "pool_inputs",
    "token_ids",
    "tokenize",
]

Attention = Literal["causal", "bidirectional"]
PromptType = Literal["query", "document"]


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """One way to get a text embedding out of a language model. Its fields are its config.

    attention: what every token may see: `causal` or `bidirectional`.
    pooling: `last`, `mean` or `weighted_mean` over the pool mask, or one of your own by its name
        (pooling_names.py). EOS is a token, not a pooling.
    layer: which hidden states, counted as transformers does: 0 = the embeddings, k = the output of
        the k-th decoder layer, -1 = after the final norm.
    max_length: the most tokens of a row (of each of its pieces, where a method states that).
    normalize: whether vectors are scaled to unit length.
    unnormalized: mteb task types whose vectors are not scaled although `normalize` is true.
    queries_only: mteb task types whose documents are encoded as queries.
    """

    attention: Attention = "causal"
    pooling: Pooling = "last"
    layer: int = -1
    max_length: int = 512
    normalize: bool = False
    unnormalized: tuple[str, ...] = ()
    queries_only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        check_pooling(self.pooling)
        if self.max_length < 1:
            raise ValueError(
                f"max_length is {self.max_length}; it is a number of tokens, 1 or more"
            )
        self._check_combines()

    @property
    def uses_instructions(self) -> bool:
        """Whether queries are encoded with a task's instruction. Evaluation must then find one."""
        return False

    @property
    def new_tokens(self) -> tuple[str, ...]:
        """Tokens that the vocabulary lacks; an adapter must have their embeddings."""
        return ()

    @property
    def rows_per_text(self) -> int:
        """How many rows `prepare_inputs` makes of each text, neighbours in its result."""
        return 1

    @property
    def layers(self) -> tuple[Read, ...]:
        """What one vector is made of: layers, counted as `layer` is; or, within decoder layer k
        counted from 0 (-1: the last), ("values", k), the values of every token, and ("heads", k),
        what the output projection reads: the values that a token attends to, by their weights."""
        return (self.layer,)

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where `steer` is called: ("input", k) is what decoder layer k reads, counted from 0,
        ("heads", k) what its attention's output projection reads."""
        return ()

    def phrase_instruction(self, instruction: str) -> str:
        """Return mteb's prompt for a task, phrased as in this method's official evaluation."""
        return instruction

    @abstractmethod
    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        """Return the token ids of each row of each text, and which positions may be pooled.

        `prompt_type` is None for symmetric tasks (similarity, classification, clustering).
        Must not depend on `pooling`, `layer` or `normalize`: these share one forward pass.
        """

    @abstractmethod
    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        """Return the vectors [B, D], float32, of a batch's right-padded hidden states."""

    def combine(self, pooled_NRKD: Tensor) -> Tensor:
        """Return one vector a text, [N, D], of its pooled rows at its layers, float32.

        Rows are pooled and cached before this. A text's vector must not depend on other texts.
        """
        return pooled_NRKD[:, 0, 0]

    def steer(self, site: Site, states_TD: Tensor, places: Places) -> Tensor:
        """Return the states of a batch's tokens with other values, at one of the `sites`.

        states_TD are a copy. places: where the last and the marked tokens of each row are. Rows of
        a text are in one batch; no text may change another's states.
        """
        return states_TD

    def _check_combines(self) -> None:
        """Raise ValueError for several rows or layers without a way to make one vector of them."""
        name, rows, layers = type(self).__name__, self.rows_per_text, self.layers
        if rows < 1 or not layers:
            raise ValueError(
                f"{name} has {rows} rows a text and the layers {list(layers)}; it needs one of "
                f"each, or more"
            )
        if type(self).combine is Method.combine and (rows > 1 or len(layers) > 1):
            raise ValueError(
                f"{name} pools {rows} rows of a text at {len(layers)} layers, and does not say how "
                f"one vector is made of them; give it combine(self, pooled_NRKD), for instance "
                f"`return pooled_NRKD[:, :, 0].mean(1)`"
            )


def pool_inputs(hidden_BLD: Tensor, inputs: Inputs, pooling: Pooling) -> Tensor:
    """Pool right-padded hidden states by the inputs' own masks: [B, D], float32."""
    mask_BL = inputs.mask(hidden_BLD.shape[1], hidden_BLD.device)
    return pool_by_name(hidden_BLD, mask_BL, pooling)
