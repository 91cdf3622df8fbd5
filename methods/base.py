"""The contract: what a method is, what it hands to the backbone, and how token ids are built.

A method says two things: what is read (`prepare_inputs`) and what is pooled (`pool`). Everything
else (weights, attention, batching, tasks, records) is shared. A plugin imports only this module.

B rows of a batch, L positions, D hidden size.

Ids are built from spans, never by a tokenizer's `add_bos_token`/`add_eos_token` flags:
transformers 5 ignores them or drops the other special token. What a tokenizer adds by itself is
*measured* (`added_by`), and truncation takes tokens from the text alone, so that a template's
tail and an end-of-sequence token survive any length.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from methods.pooling import Pooling, pool

__all__ = [
    "Attention",
    "Inputs",
    "Method",
    "Pooling",
    "PromptType",
    "Span",
    "added_by",
    "bos_ids",
    "encode_spans",
    "eos_ids",
    "pool_inputs",
    "token_ids",
    "tokenize",
]

Attention = Literal["causal", "bidirectional"]
PromptType = Literal["query", "document"]


@dataclass(frozen=True)
class Inputs:
    """What the backbone reads: ragged, one entry a row, no padding and no tensors.

    `pool_mask` says which positions of a row may be pooled; every row has at least one.
    `cut` holds the rows whose text was shortened to fit.
    """

    ids: list[list[int]]
    pool_mask: list[list[bool]]
    cut: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.pool_mask):
            raise ValueError(f"{len(self.ids)} rows of ids but {len(self.pool_mask)} pool masks")
        for row, (ids, mask) in enumerate(zip(self.ids, self.pool_mask, strict=True)):
            if len(ids) != len(mask) or not any(mask):
                raise ValueError(
                    f"row {row} has {len(ids)} ids and a pool mask of {len(mask)} positions with "
                    f"{sum(mask)} true; it needs one entry per id and at least one true"
                )

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, indices: Sequence[int]) -> Inputs:
        """The same for some rows, in the order asked for."""
        cut = frozenset(new for new, old in enumerate(indices) if old in self.cut)
        return Inputs([self.ids[i] for i in indices], [self.pool_mask[i] for i in indices], cut)


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """One way to get a text embedding out of a language model. Its fields are its config.

    attention: what every token may see: `causal` or `bidirectional`.
    pooling: `last`, `mean` or `weighted_mean` over the pool mask. EOS is a token, not a pooling.
    layer: which hidden states, counted as transformers does: 0 = the embeddings, k = the output of
        the k-th decoder layer, -1 = after the final norm.
    max_length: tokens a row may have (a method that limits each piece instead says so).
    normalize: whether vectors leave with unit length.
    unnormalized: mteb task types whose vectors are left as they are although `normalize` is true.
    queries_only: mteb task types whose documents are embedded as queries are.
    """

    attention: Attention = "causal"
    pooling: Pooling = "last"
    layer: int = -1
    max_length: int = 512
    normalize: bool = False
    unnormalized: tuple[str, ...] = ()
    queries_only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            value, hint = getattr(self, field.name), hints[field.name]
            if get_origin(hint) is Literal and value not in get_args(hint):
                message = f"{field.name} {value!r} is unknown; valid: {', '.join(get_args(hint))}."
                if field.name == "pooling" and value in ("eos", "eos_token", "cls"):
                    message += (
                        " To pool an EOS token use pooling=last with a method that appends one."
                    )
                raise ValueError(message)
        if self.max_length < 1:
            raise ValueError(
                f"max_length is {self.max_length}; it is a number of tokens, 1 or more"
            )

    @property
    def instructed(self) -> bool:
        """Whether queries are read with a task's instruction. Then evaluation must find one."""
        return False

    @property
    def new_tokens(self) -> tuple[str, ...]:
        """Tokens the vocabulary lacks, whose rows an adapter must bring."""
        return ()

    def phrase_instruction(self, instruction: str) -> str:
        """mteb's own prompt for a task, phrased as this method's official evaluation does."""
        return instruction

    @abstractmethod
    def prepare_inputs(
        self,
        texts: Sequence[str],
        *,
        tokenizer: Any,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
    ) -> Inputs:
        """What the model reads for each text, and which positions may be pooled.

        `prompt_type` is None for symmetric tasks (similarity, classification, clustering).
        Must not depend on `pooling`, `layer` or `normalize`: these share one forward pass.
        """

    @abstractmethod
    def pool(self, hidden_BLD: Tensor, inputs: Inputs) -> Tensor:
        """Right-padded hidden states of a batch, and their inputs -> [B, D], float32."""


def pool_inputs(hidden_BLD: Tensor, inputs: Inputs, pooling: Pooling) -> Tensor:
    """Pool right-padded hidden states by the inputs' own masks: [B, D], float32."""
    length = hidden_BLD.shape[1]
    mask = [row + [False] * (length - len(row)) for row in inputs.pool_mask]
    return pool(hidden_BLD, torch.tensor(mask, device=hidden_BLD.device), pooling)


class Span(NamedTuple):
    """A stretch of a row: text, or ids where a certain token is meant.

    cut: tokens may be taken from its end when the row is too long. Only texts, never a template.
    pooled: its positions may be pooled.
    joined: tokenised in one piece with the span before it, as codes do that build a string. False
        where a code concatenates ids: a merge across the seam would change them.
    limit: tokens it may have on its own, whatever the row's length.
    """

    content: str | tuple[int, ...]
    cut: bool = False
    pooled: bool = True
    joined: bool = False
    limit: int | None = None


def encode_spans(
    rows: Iterable[Sequence[Span]], *, tokenizer: Any, max_length: int | None
) -> Inputs:
    """Token ids and pool masks of rows of spans, cut to `max_length` tokens in their `cut` spans.

    A row that comes out without any token (an empty text in a method without template) is read as
    the tokenizer's BOS, or its EOS where it has none. Raises ValueError if what may not be cut is
    already longer than `max_length`.
    """
    rows = list(rows)
    pieces = [_pieces(row) for row in rows]
    encoded = _encode_pieces([piece for row in pieces for piece in row], tokenizer)
    ids: list[list[int]] = []
    masks: list[list[bool]] = []
    cut: set[int] = set()
    for index, row in enumerate(pieces):
        tokens, was_cut = _cut([t for piece in row for t in encoded[piece]], max_length)
        if was_cut or any(len(encoded[p]) < encoded[p].full_length for p in row):
            cut.add(index)
        if not tokens:
            tokens = [_Token(i, False, True) for i in (bos_ids(tokenizer) or eos_ids(tokenizer))]
        pooled = [t.pooled for t in tokens]
        ids.append([t.id for t in tokens])
        masks.append(pooled if any(pooled) else [True] * len(tokens))
    return Inputs(ids, masks, frozenset(cut))


def tokenize(texts: Sequence[str], *, tokenizer: Any) -> list[list[int]]:
    """Ids of each text alone, with nothing added."""
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []


def added_by(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids this tokenizer puts before and after a text by itself, found by letting it."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return tuple(full[:start]), tuple(full[start + len(bare) :])
    raise ValueError(
        f"cannot tell what {type(tokenizer).__name__} adds to a text: {bare} in {full}"
    )


def bos_ids(tokenizer: Any) -> tuple[int, ...]:
    """The tokenizer's BOS, or nothing where the model has no such token (Qwen)."""
    return () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)


def eos_ids(tokenizer: Any) -> tuple[int, ...]:
    """The tokenizer's EOS."""
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {tokenizer.name_or_path!r} has no EOS token; a method that pools "
            f"one cannot run on it. Set tokenizer.eos_token, or use a method that pools the text."
        )
    return (tokenizer.eos_token_id,)


def token_ids(*tokens: str, tokenizer: Any) -> tuple[int, ...]:
    """The ids of tokens that must be in the vocabulary."""
    vocabulary = tokenizer.get_vocab()
    if missing := [token for token in tokens if token not in vocabulary]:
        raise ValueError(
            f"the tokenizer of {tokenizer.name_or_path!r} lacks {', '.join(missing)}; "
            f"delimiters=new needs an adapter that brings these tokens and their rows "
            f"(adapter=PATH). Without one use delimiters=reuse."
        )
    return tuple(vocabulary[token] for token in tokens)


class _Token(NamedTuple):
    id: int
    cut: bool
    pooled: bool


class _Tokens(list[_Token]):
    full_length: int = 0


_Piece = tuple[Span, ...]


def _pieces(row: Sequence[Span]) -> list[_Piece]:
    """Spans that are tokenised in one go, together."""
    pieces: list[list[Span]] = []
    for span in row:
        if span.joined and pieces:
            pieces[-1].append(span)
        else:
            pieces.append([span])
    return [tuple(piece) for piece in pieces]


def _encode_pieces(pieces: Sequence[_Piece], tokenizer: Any) -> dict[_Piece, _Tokens]:
    """Tokens of every distinct piece; a joined piece learns from offsets whose token is whose."""
    texts = list(dict.fromkeys(p for p in pieces if isinstance(p[0].content, str)))
    encoded: dict[_Piece, _Tokens] = {}
    for piece in pieces:
        if not isinstance(piece[0].content, str):
            encoded[piece] = _Tokens(_Token(i, False, piece[0].pooled) for i in piece[0].content)
    if texts:
        strings = ["".join(str(span.content) for span in piece) for piece in texts]
        joined = any(len(piece) > 1 for piece in texts)
        batch = tokenizer(strings, add_special_tokens=False, return_offsets_mapping=joined)
        for row, piece in enumerate(texts):
            ids = batch["input_ids"][row]
            if len(piece) == 1:
                tokens = [_Token(i, piece[0].cut, piece[0].pooled) for i in ids]
            else:
                tokens = _owned(piece, ids, batch["offset_mapping"][row])
            encoded[piece] = _Tokens(tokens[: piece[0].limit])
            encoded[piece].full_length = len(tokens)
    return encoded


def _owned(piece: _Piece, ids: list[int], offsets: list[tuple[int, int]]) -> list[_Token]:
    """Tokens of a joined piece. One that touches a span that may not be cut may not be cut."""
    owners: list[Span] = [span for span in piece for _ in str(span.content)]
    tokens = []
    for token, (start, end) in zip(ids, offsets, strict=True):
        spans = owners[start:end] or [owners[min(start, len(owners) - 1)]]
        tokens.append(_Token(token, all(s.cut for s in spans), any(s.pooled for s in spans)))
    return tokens


def _cut(tokens: list[_Token], max_length: int | None) -> tuple[list[_Token], bool]:
    excess = 0 if max_length is None else len(tokens) - max_length
    if excess <= 0:
        return tokens, False
    removable = [i for i, token in enumerate(tokens) if token.cut]
    if len(removable) < excess:
        raise ValueError(
            f"a template of {len(tokens) - len(removable)} tokens does not fit max_length="
            f"{max_length}; raise method.max_length or shorten the instruction"
        )
    removed = set(removable[-excess:])
    return [token for i, token in enumerate(tokens) if i not in removed], True
