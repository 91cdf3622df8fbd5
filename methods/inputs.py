"""What is encoded: ragged token ids, and how they are built from spans (plugins: see methods.base).

Truncation takes tokens from the text alone, so that a template's tail and an EOS token survive any
length.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from methods.tokens import empty_row_ids, run_tokenizer


@dataclass(frozen=True)
class Inputs:
    """The token ids and pool masks of a batch: one list per row, without padding or tensors.

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
        """Return the pool mask of all rows, right-padded to `length`: [B, length], boolean."""
        mask = self._masks.get((length, device))  # many cells pool the same rows
        if mask is None:
            rows = [row + [False] * (length - len(row)) for row in self.pool_mask]
            mask = self._masks[length, device] = torch.tensor(rows, device=device)
        return mask

    @cached_property
    def _masks(self) -> dict[Any, Tensor]:
        return {}

    def rows(self, indices: Sequence[int]) -> Inputs:
        """Return the inputs of some rows, in the order of `indices`."""
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
    pieces = [_join_pieces(row) for row in rows]
    encoded = _encode_pieces([piece for row in pieces for piece in row], tokenizer)
    ids: list[list[int]] = []
    masks: list[list[bool]] = []
    cut: set[int] = set()
    for index, row in enumerate(pieces):
        tokens: list[int] = []
        runs: list[_Run] = []
        for piece in row:
            found = encoded[piece]
            tokens += found.ids
            runs += found.runs
            if found.shortened:
                cut.add(index)
        if max_length is not None and len(tokens) > max_length:
            runs = _cut(tokens, runs, max_length)
            cut.add(index)
        if not tokens:
            tokens = list(empty_row_ids(tokenizer))
            runs = [_Run(len(tokens), False, True)]
        mask: list[bool] = []
        for run in runs:
            mask += [run.pooled] * run.length
        ids.append(tokens)
        masks.append(mask if any(mask) else [True] * len(tokens))
    return Inputs(ids, masks, frozenset(cut))


class _Run(NamedTuple):
    """A number of tokens in a row, all of which may or may not be cut, and pooled."""

    length: int
    cut: bool
    pooled: bool


class _Encoded(NamedTuple):
    """A piece's ids, their runs, and whether a span's own limit shortened it."""

    ids: Sequence[int]
    runs: list[_Run]
    shortened: bool = False


_Piece = tuple[Span, ...]


def _join_pieces(row: Sequence[Span]) -> list[_Piece]:
    """Return the spans of a row that are tokenised in one go, together."""
    pieces: list[_Piece] = []
    for span in row:
        if span.joined and pieces:
            both = (*pieces[-1], span)
            if any(not isinstance(s.content, str) or s.limit is not None for s in both):
                raise ValueError(
                    f"{span} cannot be joined to {pieces[-1][-1]}: spans that are tokenised in one "
                    f"piece are texts without a limit; use joined=False"
                )
            pieces[-1] = both
        else:
            pieces.append((span,))
    return pieces


def _encode_pieces(pieces: Sequence[_Piece], tokenizer: Any) -> dict[_Piece, _Encoded]:
    """Return the tokens of every distinct piece."""
    encoded: dict[_Piece, _Encoded] = {}
    texts: list[_Piece] = []
    for piece in dict.fromkeys(pieces):
        span = piece[0]
        if isinstance(span.content, str):
            texts.append(piece)
        else:
            run = _Run(len(span.content), False, span.pooled)
            encoded[piece] = _Encoded(span.content, [run])
    if not texts:
        return encoded
    strings = ["".join(str(span.content) for span in piece) for piece in texts]
    joined = any(len(piece) > 1 for piece in texts)
    batch = run_tokenizer(strings, tokenizer, return_offsets_mapping=joined)
    for row, (piece, ids) in enumerate(zip(texts, batch["input_ids"], strict=True)):
        span, *others = piece
        if others:
            encoded[piece] = _Encoded(ids, _find_runs(piece, batch["offset_mapping"][row]))
        else:
            kept = ids if span.limit is None else ids[: span.limit]
            run = _Run(len(kept), span.cut, span.pooled)
            encoded[piece] = _Encoded(kept, [run], shortened=len(kept) < len(ids))
    return encoded


def _find_runs(piece: _Piece, offsets: Sequence[tuple[int, int]]) -> list[_Run]:
    """Return the runs of a joined piece, whose spans' tokens are told apart by their characters.

    A token that touches several spans may be cut where all may be, and pooled where one may be.
    """
    spans = [span for span in piece if span.content] or list(piece[-1:])
    seams = list(accumulate(len(span.content) for span in spans))

    def describe(start: int, end: int) -> _Run:
        first = min(bisect_right(seams, start), len(spans) - 1)
        touched = spans[first : max(first, bisect_left(seams, end)) + 1]
        return _Run(1, all(s.cut for s in touched), any(s.pooled for s in touched))

    starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
    if starts != sorted(starts) or ends != sorted(ends):  # a normaliser that moves characters
        return [describe(*offset) for offset in offsets]
    runs: list[_Run] = []
    token = 0
    for span, seam in zip(spans[:-1], seams, strict=False):
        following = bisect_left(starts, seam, token)
        across = bisect_right(ends, seam, token, following)
        runs.append(_Run(across - token, span.cut, span.pooled))
        runs += [describe(*offset) for offset in offsets[across:following]]
        token = following
    return [*runs, _Run(len(offsets) - token, spans[-1].cut, spans[-1].pooled)]


def _cut(ids: list[int], runs: list[_Run], max_length: int) -> list[_Run]:
    """Take tokens from the end of what may be cut, of `ids` in place; return the runs left."""
    excess = len(ids) - max_length
    fixed = len(ids) - sum(run.length for run in runs if run.cut)
    if fixed > max_length:
        raise ValueError(
            f"a template of {fixed} tokens does not fit max_length={max_length}; raise "
            f"method.max_length or shorten the instruction"
        )
    kept, end = [], len(ids)
    for run in reversed(runs):
        taken = min(run.length, excess) if run.cut else 0
        del ids[end - taken : end]
        excess -= taken
        end -= run.length
        kept.append(_Run(run.length - taken, run.cut, run.pooled))
    return kept[::-1]
