"""AnglE: one word for a sentence, pooled at the prompt's last token.

Paper: AnglE-optimized Text Embeddings (Li and Li, arXiv 2309.12871).
Code: SeanLee97/AnglE @0380c4c (angle_emb/angle.py: Prompts, AnglE.encode).

1. `template=summarize` is Prompts.A, `template=only_word` Prompts.B. Prompts.C, for queries alone,
   belongs to encoders: method=sentence_encoder with pooled=cls and C's words as its query_prefix.
2. Texts are not cleaned, and both sides read the same. Nothing is appended, as `end_with_eos` is
   off, and vectors are not normalised.
3. The code cuts a long row's end, with the prompt's last words, and pools what is then last. Here
   the text loses tokens, as the code has it in training (where it decodes the text in between).
4. BeLLM, the same authors' bidirectional last layers, is not here.

Not run on AnglE's own adapters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from methods.base import Inputs, Method, PromptType, Span, added_by, encode_spans, pool_inputs

TEMPLATES = {
    "summarize": ('Summarize sentence "', '" in one word:"'),
    "only_word": ('You can only output one word. Summarize "', '":"'),
}


@dataclass(frozen=True, kw_only=True)
class AnglE(Method):
    """AnglE (Li and Li 2023, arXiv 2309.12871): summarise a sentence in one word."""

    template: Literal["summarize", "only_word"] = "summarize"

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before, after = added_by(tokenizer)
        opening, closing = TEMPLATES[self.template]
        rows = [
            (
                Span(before),
                Span(opening),
                Span(text, cut=True, joined=True),
                Span(closing, joined=True),
                Span(after),
            )
            for text in texts
        ]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)
