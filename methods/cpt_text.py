"""cpt-text: BOS and EOS around the text, pooled at the EOS.

Paper: Text and Code Embeddings by Contrastive Pre-Training (Neelakantan et al., arXiv 2201.10005).
No code was released, so nothing here was checked against one.

1. `delimiters=reuse` takes the tokenizer's own BOS and EOS: the only setting that means anything
   without training. A tokenizer without BOS (Qwen) starts with the text.
2. `delimiters=new` takes tokens of its own, named as SGPT's re-implementation names them, [SOS]
   [EOS] for queries and {SOS} {EOS} for documents, with rows from an adapter. The paper uses two
   pairs in its search models, and the same pair on both sides of text similarity.
3. The paper does not say what truncation cuts; here the delimiters always stay.
4. It is the EOS (`tokenizer.eos_token_id`), as in the codes that pool one, also where
   the tokenizer by itself ends a text with another token (Qwen3-Embedding: <|endoftext|>, its EOS
   is <|im_end|>). That token is left out, and this is logged.

Zero-shot with `reuse` it encodes what UDEVER encodes; they differ in length and in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from methods.base import (
    Inputs,
    Method,
    PromptType,
    Span,
    bos_ids,
    encode_spans,
    eos_ids,
    note_ending,
    pool_inputs,
    token_ids,
)

QUERY_TOKENS = ("[SOS]", "[EOS]")
DOCUMENT_TOKENS = ("{SOS}", "{EOS}")


@dataclass(frozen=True, kw_only=True)
class CptText(Method):
    """cpt-text (Neelakantan et al. 2022, arXiv 2201.10005): the state at an appended EOS token."""

    max_length: int = 2048
    delimiters: Literal["reuse", "new"] = "reuse"

    @property
    def new_tokens(self) -> tuple[str, ...]:
        return QUERY_TOKENS + DOCUMENT_TOKENS if self.delimiters == "new" else ()

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        if self.delimiters == "reuse":
            start, end = bos_ids(tokenizer), eos_ids(tokenizer)
        else:
            tokens = DOCUMENT_TOKENS if prompt_type == "document" else QUERY_TOKENS
            start, end = ((i,) for i in token_ids(*tokens, tokenizer=tokenizer))
            note_ending(tokenizer, end)
        rows = [(Span(start), Span(text, cut=True), Span(end)) for text in texts]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)
