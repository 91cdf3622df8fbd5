"""Value aggregation: pool what attention passes on, the values, over several layers.

Paper: value aggregation for sentence embeddings (arXiv 2602.01572). Code: none found. Related: the
cache of keys and values as an embedding (ICLR 2026, cmd2001/ICLR2026_KV-Embedding @1b45df70).

Only the paper's abstract was read. It says that token values are pooled over layers and tokens,
instead of states, without training; and that a variant weighs them by the last token's attention.
What follows is ours, and not verified:

1. `read: values` pools the values of all heads of every token, by their mean. `read: heads` with
   `pooling: last` is the variant: what the output projection reads at the last token is the sum of
   the values, weighted by its attention.
2. Layers are averaged, without scaling; which they are, `first` to `last`, is to be chosen on data
   that is not reported.
3. The variant's projection of all layers into one space is left out.
4. The text stands alone, between what the tokenizer adds by itself, which is pooled too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from methods.base import (
    Inputs,
    Method,
    Pooling,
    PromptType,
    Read,
    Span,
    added_by,
    encode_spans,
    pool_inputs,
)


@dataclass(frozen=True, kw_only=True)
class ValueAggregation(Method):
    """Value aggregation (arXiv 2602.01572), as far as its abstract says: the mean of values.

    first, last: the decoder layers, counted from 0, or from the last one as -1.
    """

    pooling: Pooling = "mean"
    read: Literal["values", "heads"] = "values"
    first: int = -3
    last: int = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first > self.last or (self.first < 0) != (self.last < 0):
            raise ValueError(
                f"first={self.first}, last={self.last}; first is last or below, and both count "
                f"from the first layer or both from the last"
            )

    @property
    def layers(self) -> tuple[Read, ...]:
        return tuple((self.read, layer) for layer in range(self.first, self.last + 1))

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, after = added_by(tokenizer)
        rows = [(Span(before), Span(text, cut=True), Span(after)) for text in texts]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)

    def combine(self, pooled_NRKD: Tensor) -> Tensor:
        return pooled_NRKD[:, 0].mean(1)
