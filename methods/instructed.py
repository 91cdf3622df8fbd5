"""Embedders that read an instruction and a query in one frame: Qwen3, SFR, Linq, gte-Qwen2, ...

A family differs from another in its frame, in what ends a row, and in attention and pooling; each
is a class here and conf/method has its fields. E5-instruct, the first of them, has its own page.

Sources: mteb 2.26 (the loader, instruction template and arguments of each model), and
`qwen3_embedding`: QwenLM/Qwen3-Embedding @f4ad0c4. No space after "Query:"; the tokenizer appends
    <|endoftext|> by itself, and that token is pooled.
`sfr_mistral`, `linq_mistral`: E5-instruct's frame and EOS.
`gte_qwen2`: the same, with bidirectional attention (its model card, as others report it).
`f2llm`: the same; the EOS is appended by hand, as in codefuse-ai/CodeFuse-Embeddings @290d2b4.
`harrier`: no space after "Query:", as mteb has it. Copies of its model card have a space: that is
    `query="Instruct: {instruction}\\nQuery: "`.
`embedding_gemma`: a task's name instead of an instruction (instructions=embedding_gemma, its
    default), a frame for documents too, bidirectional attention, a mean over all tokens.

1. Frame and text are one string. What the tokenizer puts before it stays. The text loses tokens
   until the row fits `max_length`, and what ends the row survives; the libraries cut the row's end.
2. Queries and all texts of symmetric tasks have the frame. Documents are bare, those of reranking
   too, as in mteb, where E5-instruct's official code encodes them as queries.
3. `ending=eos` is `tokenizer.eos_token_id`, by hand: `add_eos_token`, on which the model cards
   depend, is ignored by transformers 5. `ending=tokenizer` is what the tokenizer appends by itself,
   and its EOS where that is nothing, so that Qwen3's base model does not pool the last word.
   `ending=own` is that alone: harrier's and EmbeddingGemma's tokenizers are taken as they are.
4. Nothing is stripped, as in sentence-transformers 6; before it, texts were.
5. Vectors are normalised in all tasks.
6. mteb's prompts are the instructions. The tables that mteb has for harrier and F2LLM alone are not
   here.
7. EmbeddingGemma's two linear maps after the mean are not applied, so vectors of its own weights
   are those before them. Without an instruction its queries have "search result".

None was run on its own weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

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
    eos_ids,
    pool_inputs,
)

PLACE = "{instruction}"
WITH_SPACE = f"Instruct: {PLACE}\nQuery: "
WITHOUT_SPACE = f"Instruct: {PLACE}\nQuery:"


@dataclass(frozen=True, kw_only=True)
class Instructed(Method):
    """An instruction and a query in a frame, pooled at what ends the row.

    query: what stands before a query, with {instruction}. document: what stands before a document.
    ending: `eos`; `tokenizer`: what the tokenizer appends, else its EOS; `own`: what it appends.
    default_instruction: for queries without one; None: they are bare.
    """

    normalize: bool = True
    query: str = WITH_SPACE
    document: str = ""
    ending: Literal["eos", "tokenizer", "own"] = "eos"
    default_instruction: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if PLACE not in self.query:
            raise ValueError(f"query is {self.query!r}; it needs {PLACE} where a task's one stands")

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
        before, after = self._find_ends(tokenizer)
        frame = Span(self.document if prompt_type == "document" else self._frame(instruction))
        rows = [(before, frame, Span(text, cut=True, joined=True), after) for text in texts]
        return encode_spans(rows, tokenizer=tokenizer, max_length=self.max_length)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)

    def _frame(self, instruction: str | None) -> str:
        found = instruction or self.default_instruction
        return self.query.replace(PLACE, found) if found else ""

    def _find_ends(self, tokenizer: Any) -> tuple[Span, Span]:
        before, after = added_by(tokenizer)
        if self.ending == "eos" or (self.ending == "tokenizer" and not after):
            after = eos_ids(tokenizer)
        return Span(before), Span(after)


@dataclass(frozen=True, kw_only=True)
class Qwen3Embedding(Instructed):
    """Qwen3-Embedding (Zhang et al. 2025, arXiv 2506.05176): pooled at its tokenizer's ending."""

    max_length: int = 8192
    query: str = WITHOUT_SPACE
    ending: Literal["eos", "tokenizer", "own"] = "tokenizer"


@dataclass(frozen=True, kw_only=True)
class SfrMistral(Instructed):
    """SFR-Embedding-Mistral and -2_R (Salesforce 2024): an instruction and query, pooled at EOS."""

    max_length: int = 4096


@dataclass(frozen=True, kw_only=True)
class LinqMistral(Instructed):
    """Linq-Embed-Mistral (Linq AI Research 2024): an instruction and query, pooled at EOS."""

    max_length: int = 4096


@dataclass(frozen=True, kw_only=True)
class GteQwen2(Instructed):
    """gte-Qwen2-instruct (Li et al. 2023, arXiv 2308.03281): bidirectional, pooled at EOS."""

    attention: Attention = "bidirectional"
    max_length: int = 8192


@dataclass(frozen=True, kw_only=True)
class F2LLM(Instructed):
    """F2LLM and F2LLM-v2 (Zhang et al. 2025, arXiv 2510.02294): pooled at EOS."""

    max_length: int = 8192


@dataclass(frozen=True, kw_only=True)
class Harrier(Instructed):
    """harrier-oss-v1 (Microsoft 2026): an instruction and query, pooled at the last token."""

    max_length: int = 8192
    query: str = WITHOUT_SPACE
    ending: Literal["eos", "tokenizer", "own"] = "own"


@dataclass(frozen=True, kw_only=True)
class EmbeddingGemma(Instructed):
    """EmbeddingGemma (Vera et al. 2025, arXiv 2509.20354): a task's name, mean over all tokens."""

    attention: Attention = "bidirectional"
    pooling: Pooling = "mean"
    max_length: int = 2048
    query: str = f"task: {PLACE} | query: "
    document: str = "title: none | text: "
    ending: Literal["eos", "tokenizer", "own"] = "own"
    default_instruction: str | None = "search result"
