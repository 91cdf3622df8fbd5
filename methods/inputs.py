"""What is encoded: ragged token ids, and how they are built from spans (plugins: see methods.base).

Truncation takes tokens from the text alone, so that a template's tail and an EOS token survive any
length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from methods.tokens import empty_row_ids, run_tokenizer


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
            if not _is_list_of(int, ids) or not _is_list_of(bool, mask):
                raise ValueError(
                    f"row {row} has ids {ids[:3]} and pool mask {mask[:3]}; ids are a list of int, "
                    f"a pool mask is a list of bool (.tolist() makes one of an array)"
                )
            if len(ids) != len(mask) or not any(mask):
                raise ValueError(
                    f"row {row} has {len(ids)} ids and a pool mask of {len(mask)} positions with "
                    f"{sum(mask)} true; it needs one entry per id and at least one true"
                )

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self, length: int, device: Any = "cpu") -> Tensor:
        """The pool mask of all rows, padded on the right to `length`: [B, length], boolean."""
        mask = self._masks.get((length, device))  # many cells pool the same rows
        if mask is None:
            rows = [row + [False] * (length - len(row)) for row in self.pool_mask]
            mask = self._masks[length, device] = torch.tensor(rows, device=device)
        return mask

    @cached_property
    def _masks(self) -> dict[Any, Tensor]:
        return {}

    def rows(self, indices: Sequence[int]) -> Inputs:
        """The same for some rows, in the order asked for."""
        cut = frozenset(new for new, old in enumerate(indices) if old in self.cut)
        return Inputs([self.ids[i] for i in indices], [self.pool_mask[i] for i in indices], cut)


def _is_list_of(kind: type, values: Any) -> bool:
    return isinstance(values, list) and set(map(type, values)) <= {kind}


class Span(NamedTuple):
    """A stretch of a row: text, or ids where a certain token is meant.

    cut: tokens may be taken from its end when the row is too long. Only texts, never a template.
    pooled: its positions may be pooled, which a template's often may not. A row of which no pooled
        span has a token is pooled whole.
    joined: tokenised in one piece with the span before it, as codes do that build a string. False
        where a code concatenates ids: a merge across the seam would change them. Both are texts.
    limit: tokens it may have on its own, whatever the row's length; not of a joined piece.
    """

    content: str | tuple[int, ...]
    cut: bool = False
    pooled: bool = True
    joined: bool = False
    limit: int | None = None


def encode_spans(
    rows: Iterable[Sequence[Span]], *, tokenizer: Any, max_length: int | None
) -> Inputs:
    """Return token ids and pool masks of rows of spans, cut to `max_length` tokens (None: whole).

    Tokens are taken from the end of the row's `cut` spans. A row without any token (an empty text
    in a method without template) is encoded as the tokenizer's BOS, or its EOS where it has none.
    A row without a token that may be pooled (an empty text behind an instruction) is pooled whole.
    Raises ValueError if what may not be cut is already longer than `max_length`.
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
            tokens = [_Token(i, False, True) for i in empty_row_ids(tokenizer)]
        pooled = [t.pooled for t in tokens]
        ids.append([t.id for t in tokens])
        masks.append(pooled if any(pooled) else [True] * len(tokens))
    return Inputs(ids, masks, frozenset(cut))


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
            both = [*pieces[-1], span]
            if any(not isinstance(s.content, str) or s.limit is not None for s in both):
                raise ValueError(
                    f"{span} cannot be joined to {pieces[-1][-1]}: spans that are tokenised in one "
                    f"piece are texts without a limit; use joined=False"
                )
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
        batch = run_tokenizer(strings, tokenizer, return_offsets_mapping=joined)
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
