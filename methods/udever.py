"""UDEVER: a start and an end token for each side, pooled at the end token.

Paper: Language Models are Universal Embedders (Zhang et al., arXiv 2310.08232).
Code: the model cards of izhx/udever-bloom-*; izhx/uni-rep @1ded15d holds a README only.

1. `delimiters=new` is the released models': [BOQ] text [EOQ] for queries, [BOD] text [EOD] for
   documents, four tokens with trained rows, so it needs an adapter that brings them.
2. `delimiters=reuse` puts the tokenizer's own BOS and EOS there: the zero-shot form.
3. The card appends the end token after *left* padding; with right padding its code would pool after
   the pads. Here the end token is the last of the row, whatever the padding.
4. What symmetric texts get is in no public file; here both sides are queries.
5. The card appends the end token's id and nothing else. So does this, with the EOS
   (`tokenizer.eos_token_id`) under `reuse`, also where the tokenizer by itself ends a text with
   another token (Qwen3-Embedding: <|endoftext|>, its EOS is <|im_end|>). That token is left out,
   and this is logged.
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
    added_by,
    bos_ids,
    encode_spans,
    eos_ids,
    note_ending,
    pool_inputs,
    token_ids,
)

QUERY_TOKENS = ("[BOQ]", "[EOQ]")
DOCUMENT_TOKENS = ("[BOD]", "[EOD]")


@dataclass(frozen=True, kw_only=True)
class Udever(Method):
    """UDEVER (Zhang et al. 2023, arXiv 2310.08232): the state at a side's own end token."""

    max_length: int = 300
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
            first, last = token_ids(*tokens, tokenizer=tokenizer)
            start, end = (*added_by(tokenizer)[0], first), (last,)
            note_ending(tokenizer, end)
        rows = [(Span(start), Span(text, cut=True), Span(end)) for text in texts]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)
