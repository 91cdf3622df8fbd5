"""Build rows from spans, stretches of text or ids (plugins: see methods.base).

Truncation takes tokens from the text alone, so that a template's tail and an EOS token survive any
length.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from methods.inputs import Inputs
from methods.tokens import empty_row_ids, run_tokenizer


class Span(NamedTuple):
    """A stretch of a row: text, or ids where a certain token is meant.

    cut: tokens may be taken from its end when the row is too long. Only texts, never a template.
    pooled: its positions may be pooled, which a template's often may not. A row of which no pooled
        span has a token is pooled whole.
    joined: tokenised in one piece with the span before it, as codes do that build a string. False
        where a code concatenates ids: a merge across the seam would change them. Both are texts.
    limit: tokens it may have on its own, whatever the row's length; not of a joined piece.
    mark: a name under which `Inputs.marks` has its positions; not of a joined piece.
    """

    content: str | tuple[int, ...]
    cut: bool = False
    pooled: bool = True
    joined: bool = False
    limit: int | None = None
    mark: str | None = None


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
    marked: list[list[_Run]] = []
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
        marked.append(runs)
    return Inputs(ids, masks, frozenset(cut), _find_marks(marked))


class _Run(NamedTuple):
    """A number of tokens in a row, all of which may or may not be cut, and pooled, and marked."""

    length: int
    cut: bool
    pooled: bool
    mark: str | None = None


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
            if any(not isinstance(s.content, str) or s.limit is not None or s.mark for s in both):
                raise ValueError(
                    f"{span} cannot be joined to {pieces[-1][-1]}: spans that are tokenised in one "
                    f"piece are texts without a limit or a mark; use joined=False"
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
            run = _Run(len(span.content), False, span.pooled, span.mark)
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
            run = _Run(len(kept), span.cut, span.pooled, span.mark)
            encoded[piece] = _Encoded(kept, [run], shortened=len(kept) < len(ids))
    return encoded


def _find_marks(rows: Sequence[Sequence[_Run]]) -> dict[str, list[list[int]]]:
    """Return the positions of each mark in each row."""
    marks = {run.mark: [[] for _ in rows] for runs in rows for run in runs if run.mark}
    for row, runs in enumerate(rows):
        end = 0
        for run in runs:
            end += run.length
            if run.mark:
                marks[run.mark][row] += range(end - run.length, end)
    return marks


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
        kept.append(run._replace(length=run.length - taken))
    return kept[::-1]
