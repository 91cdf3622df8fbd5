"""RepLLaMA: "query: " or "passage: ", the text, and the state of an appended EOS.

Paper: Fine-Tuning LLaMA for Multi-Stage Text Retrieval (Ma et al., arXiv 2310.08319).
Code: texttron/tevatron @dd06310 (current), examples/repllama @2e5d00e (paper-time).

1. The current code's encoding is followed: prefix and text in one string with what the tokenizer
   adds in front, at most `max_length` - 1 tokens, then the EOS id. The paper-time code stays one
   shorter.
2. Passages are stripped and queries are not; an empty title leaves one space, where the paper-time
   code left two.
3. The EOS id is `tokenizer.eos_token_id`, as in both codes, also where the tokenizer by itself ends
   a text with another token (Qwen3-Embedding: <|endoftext|>, its EOS is <|im_end|>). The current
   code would put the EOS after that one; here it is left out, and this is logged.
4. Neither says what symmetric texts get; here both sides are queries.
5. The current command line has neither prefix, EOS nor normalisation as defaults; its RepLLaMA
   example sets them, and so does this.
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
class RepLLaMA(Method):
    """RepLLaMA (Ma et al. 2023, arXiv 2310.08319): prefixed query or passage, pooled at EOS."""

    normalize: bool = True

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, eos = Span(added_by(tokenizer)[0]), Span(eos_ids(tokenizer))
        document = prompt_type == "document"
        prefix = Span("passage: " if document else "query: ")
        rows = [
            (before, prefix, Span(text.strip() if document else text, cut=True, joined=True), eos)
            for text in texts
        ]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)
