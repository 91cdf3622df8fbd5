"""PromptEOL: ask for the sentence in one word and pool the state that predicts the word.

Paper: Scaling Sentence Embeddings with Large Language Models (Jiang et al., arXiv 2307.16645).
Code: kongds/scaling_sentemb @8567aa0 (evaluation.py, run_icl.sh).

1. The prompt ends with an opening quote and no space; the state pooled is that quote's.
2. evaluation.py cleans texts and this does the same: a full stop where no . ? " or ' ends the text,
   double quotes become single ones, a final question mark becomes a full stop, the whole prompt is
   stripped. The README's short example does none of it, and training cleans nothing.
3. `demonstration=[sentence, word]` puts one solved prompt in front, with no separator, as the ICL
   runs do. Demonstrations are not cleaned.
4. The official transfer path cuts the text to 500 tokens and then the whole prompt, tail first, to
   512. Here tokens come off the text until the prompt fits, so the tail always stays.
5. What a tokenizer appends by itself (Qwen3-Embedding: <|endoftext|>) stands after the quote, as in
   the official code, and as there the row's last state is pooled: that token's, not the quote's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from methods.base import Inputs, Method, PromptType, Span, added_by, encode_spans, pool_inputs

OPENING = 'This sentence : "'
CLOSING = '" means in one word:"'


@dataclass(frozen=True, kw_only=True)
class PromptEOL(Method):
    """PromptEOL (Jiang et al. 2023, arXiv 2307.16645): "this sentence means in one word"."""

    demonstration: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.demonstration is not None and len(self.demonstration) != 2:
            raise ValueError(f"demonstration is {self.demonstration!r}; it is [sentence, word]")

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, after = added_by(tokenizer)
        opening = OPENING
        if self.demonstration is not None:
            sentence, word = self.demonstration
            opening = f'{OPENING}{sentence}{CLOSING}{word}".{OPENING}'
        rows = [
            (
                Span(before),
                Span(opening),
                Span(clean(text), cut=True, joined=True),
                Span(CLOSING, joined=True),
                Span(after),
            )
            for text in texts
        ]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)


def clean(text: str) -> str:
    """Return a text as the official evaluation puts it into the prompt; empty texts stay empty."""
    if text and text[-1] not in ".?\"'":
        text += "."
    text = text.replace('"', "'")
    return text[:-1] + "." if text.endswith("?") else text
