"""Echo: the text twice, so that the second copy's tokens have seen all of the first.

Paper: Repetition Improves Language Model Embeddings (Springer et al., arXiv 2402.15449).
Code: jakespringer/echo-embeddings @c752c46; zero-shot prompt from its issue 8.

1. `template=rewrite` is the zero-shot prompt its author confirmed (no code has it): "Rewrite the
   following paragraph: S. The rewritten paragraph: S", mean over the second S only. It is parsed as
   the code's parser would parse it, with the BOS that its README asks for and each space in the
   piece of its text, where byte-level BPE wants it. The paper's first version samples prompts.
2. `template=instruct` is the fine-tuned models' template as the code has it: no space after a colon
   and a comma after the instruction, both unlike the paper's print. The mean includes the EOS,
   whose brace carries no exclamation mark. Symmetric texts take the query template.
3. Every literal and every text is tokenised on its own and ids are concatenated. The code's literal
   `<s>` and `</s>` are the tokenizer's own BOS and EOS here, whatever their names. What a tokenizer
   appends by itself is left out, as the code switches it off; where that is not the row's own end
   (Qwen3-Embedding's <|endoftext|>) this is logged.
4. `max_length` holds for each piece, as in the code: a row may have twice that and the template.
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
    bos_ids,
    encode_spans,
    eos_ids,
    note_ending,
    pool_inputs,
)


@dataclass(frozen=True, kw_only=True)
class Echo(Method):
    """Echo embeddings (Springer et al. 2024, arXiv 2402.15449): mean over a repeated text."""

    pooling: Pooling = "mean"
    max_length: int = 300
    template: Literal["rewrite", "instruct"] = "rewrite"

    @property
    def uses_instructions(self) -> bool:
        return self.template == "instruct"

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        before = Span(bos_ids(tokenizer), pooled=False)
        if self.template == "rewrite":
            note_ending(tokenizer)
            first = self._literal("Rewrite the following paragraph:")
            second = self._literal(". The rewritten paragraph:")
            rows = [(before, *first, *self._copies(f" {text}", second)) for text in texts]
        else:
            first = self._instruct(prompt_type, instruction)
            name = "Document" if prompt_type == "document" else "Query"
            second, eos = self._literal(f"\n{name} again:"), Span(eos_ids(tokenizer))
            rows = [(before, *first, *self._copies(text, second), eos) for text in texts]
        return encode_spans(rows, tokenizer=tokenizer, max_length=None)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)

    def _instruct(self, prompt_type: PromptType | None, instruction: str | None) -> list[Span]:
        if prompt_type == "document":
            return self._literal("Document:")
        if not instruction:
            raise ValueError("echo with template=instruct needs an instruction for its queries")
        return self._literal("Instruct:", f"{instruction},", "\nQuery:")

    def _copies(self, text: str, between: list[Span]) -> list[Span]:
        return [
            Span(text, cut=True, pooled=False, limit=self.max_length),
            *between,
            Span(text, cut=True, limit=self.max_length),
        ]

    def _literal(self, *pieces: str) -> list[Span]:
        return [Span(piece, pooled=False, limit=self.max_length) for piece in pieces]
