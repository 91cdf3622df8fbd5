"""SGPT bi-encoder: the text as it is, or between brackets, and a mean that weighs late tokens more.

Paper: SGPT: GPT Sentence Embeddings for Semantic Search (Muennighoff, arXiv 2202.08904).
Code: Muennighoff/sgpt @37c8bf0 (README and biencoder/beir).

1. `template=plain` (the symmetric, -nli- models): what the tokenizer makes of the text, with what
   it adds by itself (nothing for GPT tokenizers). The README's code does not strip texts; the
   vendored sentence-transformers does.
2. `template=brackets` (the asymmetric, -specb- models): `[` text `]` for queries and symmetric
   texts, `{` text `}` for documents. Ids are concatenated: tokenised as one string the brackets
   merge with the text, which the README reports as worse.
3. Three length budgets stand in the official code; here the row with its brackets has at most
   `max_length` tokens, the BEIR script's rule. That script uses 300; the README the model's own
   limit.
4. Texts are encoded as they are, as in the README's code; the BEIR script turns line breaks into
   spaces and strips documents.
5. Weights count from 1 over the whole row, brackets and BOS included.
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
    Span,
    added_by,
    encode_spans,
    pool_inputs,
    tokenize,
)


@dataclass(frozen=True, kw_only=True)
class SGPT(Method):
    """SGPT (Muennighoff 2022, arXiv 2202.08904): position-weighted mean over the text."""

    pooling: Pooling = "weighted_mean"
    max_length: int = 2048
    template: Literal["plain", "brackets"] = "plain"

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, after = added_by(tokenizer)
        if self.template == "brackets":
            brackets = "{}" if prompt_type == "document" else "[]"
            opening, closing = (tuple(ids[:1]) for ids in tokenize(brackets, tokenizer=tokenizer))
            # The official code inserts the bracket before everything, also before a BOS.
            before, after = opening + before, after + closing
        rows = [(Span(before), Span(text, cut=True), Span(after)) for text in texts]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)
