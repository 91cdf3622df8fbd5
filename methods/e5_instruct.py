"""E5-mistral-instruct: a task's instruction before the query, pooled at an appended EOS.

Paper: Improving Text Embeddings with Large Language Models (Wang et al., arXiv 2401.00368).
Code: microsoft/unilm e5 @768a3c8, and the version before 59d0483.

1. Queries and all texts of symmetric tasks read "Instruct: {task}", a line break, "Query: {text}";
   without an instruction the text alone. Reranking documents take the instruction too, since the
   official evaluation encodes both sides of every task but retrieval alike (`queries_only`).
2. Retrieval documents are stripped and bare, also in QuoraRetrieval.
3. One string is tokenised, at most `max_length` - 1 tokens, and the EOS id is appended by hand. The
   current official code leaves that to `add_eos_token`, which transformers 5 ignores.
4. That EOS is `tokenizer.eos_token_id`, as in the official code, also where the tokenizer by itself
   ends a text with another token (Qwen3-Embedding: <|endoftext|>, its EOS is <|im_end|>). The code
   would put the EOS after that one; here that one is left out, and this is logged.
5. Vectors are normalised except in classification, where the official code switches it off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from methods.base import (
    Inputs,
    Method,
    PromptType,
    Span,
    added_by,
    encode_spans,
    eos_ids,
    pool_inputs,
)


@dataclass(frozen=True, kw_only=True)
class E5Instruct(Method):
    """E5-instruct (Wang et al. 2023, arXiv 2401.00368): an instruction and query, pooled at EOS."""

    normalize: bool = True
    unnormalized: tuple[str, ...] = ("Classification",)
    queries_only: tuple[str, ...] = ("Reranking",)

    @property
    def uses_instructions(self) -> bool:
        return True

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, eos = Span(added_by(tokenizer)[0]), Span(eos_ids(tokenizer))
        if prompt_type == "document":
            rows = [(before, Span(text.strip(), cut=True), eos) for text in texts]
        else:
            prefix = Span(f"Instruct: {instruction}\nQuery: " if instruction else "")
            rows = [(before, prefix, Span(text, cut=True, joined=True), eos) for text in texts]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)
