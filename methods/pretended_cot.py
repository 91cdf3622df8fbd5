"""Pretended chain of thought and knowledge enhancement: PromptEOL with a reason to think first.

Paper: Simple Techniques for Enhancing Sentence Embeddings in Generative Language Models (Zhang et
al., arXiv 2404.03921). Code: ZBWpro/PretCoTandKE @ad3a799.

`template` is one of the repository's four prompts: `pretended_cot`, `knowledge`, and those that it
fine-tunes with, `something` (PromptSTH) and `summarized` (PromptSUM), which have no closing quote:
the state pooled is that of the last word.

1. The official code reads the second-to-last layer (`layer: -2`) for `pretended_cot` and
   `knowledge`, and the last one for PromptEOL, `something` and `summarized`. So what it reports as
   the gain of a prompt has the gain of a layer in it; compare at the same layer.
2. Texts are cleaned as PromptEOL's are.
3. Tokens come off the text until the prompt fits, so its tail always stays.
4. What a tokenizer appends by itself stands at the end, and as in the official code the row's last
   state is pooled.
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
    clean_sentence,
    encode_spans,
    pool_inputs,
)

TEMPLATES = {
    "pretended_cot": ('After thinking step by step , this sentence : "{text}" means in one word:"'),
    "knowledge": (
        "The essence of a sentence is often captured by its main subjects and actions, while "
        "descriptive terms provide additional but less central details. With this in mind , this "
        'sentence : "{text}" means in one word:"'
    ),
    "something": 'This sentence : "{text}" means something',
    "summarized": 'This sentence : "{text}" can be summarized as',
}
Template = Literal["pretended_cot", "knowledge", "something", "summarized"]


@dataclass(frozen=True, kw_only=True)
class PretendedCoT(Method):
    """Pretended CoT and Knowledge Enhancement (Zhang et al. 2024, arXiv 2404.03921)."""

    layer: int = -2
    template: Template = "pretended_cot"

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, after = added_by(tokenizer)
        opening, closing = TEMPLATES[self.template].split("{text}")
        rows = [
            (
                Span(before),
                Span(opening),
                Span(clean_sentence(text), cut=True, joined=True),
                Span(closing, joined=True),
                Span(after),
            )
            for text in texts
        ]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)
