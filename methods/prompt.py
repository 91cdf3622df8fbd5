"""Prompt: any wording around a text, in place of a paper's own.

How much of a method is the exact wording of its paper? Here the wording is a field, `{text}` where
the text stands (twice for a repetition), `{instruction}` where a task's instruction does, and a
backslash and an n for a line break, as command lines have it.
conf/method has three families of wordings, whose defaults are those of PromptEOL (`prompt`), Echo
(`prompt_echo`) and E5-instruct (`prompt_instruct`); experiment=prompts has a bank of others.

1. With one `{text}` the wording is tokenised in one piece, as PromptEOL and E5-instruct do: the
   rows of the default wordings are theirs. With several, the pieces are tokenised and limited to
   `max_length` one by one, as Echo does.
2. `pooled: text` leaves only the last copy of the text to pool, `pooled: all` every token.
3. `beginning` and `ending` are what the tokenizer puts there by itself (`tokenizer`), or the BOS
   token; the EOS token or `nothing`.
4. Without an instruction, a wording with `{instruction}` is the text alone, as in E5-instruct.
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
    added_by,
    bos_ids,
    clean_sentence,
    encode_spans,
    eos_ids,
    note_ending,
    pool_inputs,
)

TEXT, INSTRUCTION = "{text}", "{instruction}"
Pooled = Literal["all", "text"]
Beginning = Literal["tokenizer", "bos"]
Ending = Literal["tokenizer", "eos", "nothing"]
Cleaning = Literal["sentence", "strip_documents", "nothing"]


@dataclass(frozen=True, kw_only=True)
class Prompt(Method):
    """A text within a wording of one's own; by default PromptEOL's (arXiv 2307.16645).

    document: the wording of documents; None: as all other texts.
    cleaning: `sentence` as PromptEOL cleans its texts; `strip_documents` as E5-instruct; `nothing`.
    """

    prompt: str = 'This sentence : "{text}" means in one word:"'
    document: str | None = None
    pooled: Pooled = "all"
    beginning: Beginning = "tokenizer"
    ending: Ending = "tokenizer"
    cleaning: Cleaning = "sentence"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, wording in (("prompt", self.prompt), ("document", self.document)):
            if wording is not None and TEXT not in wording:
                raise ValueError(f"{name} is {wording!r}; it needs {TEXT} where the text stands")

    @property
    def uses_instructions(self) -> bool:
        return INSTRUCTION in self.prompt

    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        is_document = prompt_type == "document"
        wording = self.document if is_document and self.document is not None else self.prompt
        if INSTRUCTION in wording and not instruction:
            wording = TEXT
        pieces = [
            piece.replace(r"\n", "\n").replace(INSTRUCTION, instruction or "")
            for piece in wording.split(TEXT)
        ]
        lay = self._lay_once if len(pieces) == 2 else self._lay_often
        before, after = (Span(ids, pooled=self._pools_rest) for ids in self._find_ends(tokenizer))
        rows = [(before, *lay(pieces, self._clean(text, is_document)), after) for text in texts]
        limit = self.max_length if len(pieces) == 2 else None
        return encode_spans(rows, tokenizer=tokenizer, max_length=limit)

    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        return pool_inputs(hidden_BLD, inputs, self.pooling)

    @property
    def _pools_rest(self) -> bool:
        return self.pooled == "all"

    def _find_ends(self, tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids that a row begins and ends with."""
        before, after = added_by(tokenizer)
        if self.beginning == "bos":
            before = bos_ids(tokenizer)
        if self.ending == "nothing":
            note_ending(tokenizer)
            after = ()
        return before, eos_ids(tokenizer) if self.ending == "eos" else after

    def _clean(self, text: str, is_document: bool) -> str:
        if self.cleaning == "sentence":
            return clean_sentence(text)
        return text.strip() if is_document and self.cleaning == "strip_documents" else text

    def _lay_once(self, pieces: list[str], text: str) -> list[Span]:
        opening, closing = pieces
        return [
            Span(opening, pooled=self._pools_rest),
            Span(text, cut=True, joined=True),
            Span(closing, joined=True, pooled=self._pools_rest),
        ]

    def _lay_often(self, pieces: list[str], text: str) -> list[Span]:
        """Return spans of a repeated text. A blank before the text is tokenised with it."""
        spans: list[Span] = []
        for place, piece in enumerate(pieces):
            copy = f" {text}" if piece.endswith(" ") else text
            rest, last = place == len(pieces) - 1, place == len(pieces) - 2
            literal = piece if rest else piece.removesuffix(" ")
            spans.append(Span(literal, pooled=self._pools_rest, limit=self.max_length))
            if not rest:
                pooled = last or self._pools_rest
                spans.append(Span(copy, cut=True, pooled=pooled, limit=self.max_length))
        return spans


@dataclass(frozen=True, kw_only=True)
class PromptEcho(Prompt):
    """A wording that repeats the text; by default Echo's (arXiv 2402.15449)."""

    pooling: Pooling = "mean"
    max_length: int = 300
    prompt: str = "Rewrite the following paragraph: {text}. The rewritten paragraph: {text}"
    pooled: Pooled = "text"
    beginning: Beginning = "bos"
    ending: Ending = "nothing"
    cleaning: Cleaning = "nothing"


@dataclass(frozen=True, kw_only=True)
class PromptInstruct(Prompt):
    """A wording with a task's instruction; by default E5-instruct's (arXiv 2401.00368)."""

    normalize: bool = True
    unnormalized: tuple[str, ...] = ("Classification",)
    queries_only: tuple[str, ...] = ("Reranking",)
    prompt: str = r"Instruct: {instruction}\nQuery: {text}"
    document: str | None = "{text}"
    ending: Ending = "eos"
    cleaning: Cleaning = "strip_documents"
