"""GritLM: bidirectional attention, and a mean over the text behind a marked instruction.

Paper: Generative Representational Instruction Tuning (Muennighoff et al., arXiv 2402.09906).
Code: ContextualAI/gritlm @134d8b4 (gritlm/gritlm.py, encode). Embedding alone: a model trained so
also generates.

1. Queries and symmetric texts read "<|user|>", a line break, the instruction, a line break,
   "<|embed|>", a line break and the text; documents, and queries without an instruction, begin at
   "<|embed|>". The markers are plain text. Nothing ends a row.
2. The code leaves as many positions out of the mean as the frame has tokens on its own, with what
   the tokenizer adds to it, and so does this: where frame and text merge into other tokens, the
   mean begins a token early or late. Attention sees the whole row.
3. A row without a token behind these (an empty text) is pooled whole; the code divides by zero.
4. A frame that does not fit `max_length` is an error; the code cuts it and divides by zero.
5. Reranking documents are documents here.

Not run on GritLM's own weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    tokenize,
)

USER, EMBED = "<|user|>\n", "<|embed|>\n"


@dataclass(frozen=True, kw_only=True)
class GritLM(Method):
    """GritLM (Muennighoff et al. 2024, arXiv 2402.09906): bidirectional, mean over the text."""

    attention: Attention = "bidirectional"
    pooling: Pooling = "mean"
    normalize: bool = True

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
        asked = instruction and prompt_type != "document"
        frame = f"{USER}{instruction}\n{EMBED}" if asked else EMBED
        before, after = added_by(tokenizer)
        rows = [
            (Span(before), Span(frame), Span(text, cut=True, joined=True), Span(after))
            for text in texts
        ]
        inputs = encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)
        skipped = len(before) + len(tokenize([frame], tokenizer=tokenizer)[0]) + len(after)
        masks = [_mask_first(skipped, len(ids)) for ids in inputs.ids]
        return Inputs(inputs.ids, masks, inputs.cut)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)


def _mask_first(number: int, length: int) -> list[bool]:
    """Return a mask over `length` positions, false on the first `number` unless that is all."""
    return [position >= number or number >= length for position in range(length)]
