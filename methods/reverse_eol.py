"""ReverseEOL: PromptEOL's prompt for a text and for the text reversed, and the mean of the two.

Paper: ReverseEOL (Lin et al., arXiv 2606.05858). Code: none found.

Under causal attention a word sees only what stands before it; in the reversed text it sees the
rest.

Only the paper's abstract was read. It says that the vectors of the text and of the reversed text
are combined. What follows is ours, and not verified:

1. The words between blanks are reversed, not the tokens.
2. The two vectors are averaged, without scaling.
3. Prompt and cleaning are PromptEOL's; the full stop stays at the end.
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
    clean_sentence,
    encode_spans,
    pool_inputs,
)

OPENING = 'This sentence : "'
CLOSING = '" means in one word:"'


@dataclass(frozen=True, kw_only=True)
class ReverseEOL(Method):
    """ReverseEOL (arXiv 2606.05858), as far as its abstract says: forwards and backwards."""

    @property
    def rows_per_text(self) -> int:
        return 2

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, after = added_by(tokenizer)
        rows = [
            (
                Span(before),
                Span(OPENING),
                Span(one, cut=True, joined=True),
                Span(CLOSING, joined=True),
                Span(after),
            )
            for text in texts
            for one in (clean_sentence(text), reverse(text))
        ]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)

    def combine(self, pooled_NRKD: Tensor) -> Tensor:
        return pooled_NRKD[:, :, 0].mean(1)


def reverse(text: str) -> str:
    """Return a cleaned text with its words in reverse order, its full stop at the end."""
    words = clean_sentence(text)
    stop = "." if words.endswith(".") else ""
    return " ".join(words.removesuffix(".").split()[::-1]) + stop
