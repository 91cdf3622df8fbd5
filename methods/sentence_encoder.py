"""The baseline row: an encoder that was trained to embed (MiniLM, bge), under the same contract.

Sources: sentence-transformers/all-MiniLM-L6-v2 (mean over all tokens, 256 tokens, normalised) and
BAAI/bge-small-en-v1.5 (the state of [CLS], 512 tokens, normalised, a prefix before retrieval
queries).

1. `pooled=cls` marks the first position alone; `pooled=all` every position, [CLS] and [SEP]
   included, as sentence-transformers' mean does.
2. Texts are stripped, as sentence-transformers does before tokenising.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from methods.base import (
    Attention,
    Inputs,
    Method,
    Pooling,
    PromptType,
    Span,
    added_by,
    encode_spans,
    pool_inputs,
)


@dataclass(frozen=True, kw_only=True)
class SentenceEncoder(Method):
    """A sentence encoder (Reimers and Gurevych 2019, arXiv 1908.10084): the baseline row."""

    attention: Attention = "bidirectional"
    pooling: Pooling = "mean"
    max_length: int = 256
    normalize: bool = True
    pooled: Literal["all", "cls"] = "all"
    query_prefix: str = ""

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, after = added_by(tokenizer)
        prefix = self.query_prefix if prompt_type == "query" else ""
        rows = [
            (Span(before), Span(prefix), Span(text.strip(), cut=True, joined=True), Span(after))
            for text in texts
        ]
        inputs = encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)
        if self.pooled == "all":
            return inputs
        first = [[position == 0 for position in range(len(ids))] for ids in inputs.ids]
        return Inputs(inputs.ids, first, inputs.cut)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)
