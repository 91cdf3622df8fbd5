"""Turn raw rows into texts: which columns are read, how many negatives, what is wrong with a row.

Columns and the number of negatives are decided by all rows of a source, never by the first: the
number is the largest that a row has, or the recipe's if that is smaller.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from methods.data.readers import Table

log = logging.getLogger(__name__)
COLUMNS = ("query", "positive", "negatives", "text", "instruction")
NEGATIVE = re.compile(r"negatives?(_\d+)?")
Size = (
    int | None
)  # of a row's negatives in a column: a list's length, ONE for a text, None for null
ONE = -1


@dataclass(frozen=True)
class Layout:
    """Which columns hold a source's texts, and how many negatives each row gets.

    text: the one column that is read, else None. listed: columns of negatives that hold a list in
    some row; a null there is an empty list. most: negatives of the row that has most. number: of
    negatives that every row gets. instruction: the column of a row's own instruction, or None.
    """

    text: str | None = None
    query: str = "query"
    positive: str = "positive"
    negatives: tuple[str, ...] = ()
    listed: frozenset[str] = frozenset()
    most: int = 0
    number: int = 0
    instruction: str | None = None


def iterate_rows(
    tables: Sequence[Table], limit: int | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of all tables with their table's index, at most `limit`."""
    return islice(((i, row) for i, table in enumerate(tables) for row in table.rows()), limit)


def find_layout(
    tables: Sequence[Table],
    named: Mapping[str, Any],
    *,
    name: str,
    texts_only: bool,
    limit: int | None,
    negatives: int | None,
    instructed: bool = False,
) -> Layout:
    """Decide which columns are read from every row. named: our name of a column -> theirs.

    instructed: the source has one instruction for all rows, so a column of that name is not read.
    Raises ValueError for columns that are lacking, or that differ between files.
    """
    found: list[dict[str, None]] = [dict.fromkeys(table.columns or ()) for table in tables]
    theirs = named.get("negatives")
    theirs = [theirs] if isinstance(theirs, str) else theirs and list(theirs)
    sizes: set[tuple[tuple[str, Size], ...]] = set()
    for place, row in iterate_rows(tables, limit):
        if tables[place].columns is None:
            found[place].update(dict.fromkeys(row))
        own = theirs or [column for column in row if NEGATIVE.fullmatch(column)]
        sizes.add(tuple((column, _measure_size(row.get(column))) for column in own))
    columns = list(dict.fromkeys(column for part in found for column in part))
    if not sizes and not columns:
        raise ValueError(f"data {name} has no row to train on")
    hard = theirs or [column for column in columns if NEGATIVE.fullmatch(column)]
    wanted = {own: [str(named.get(own, own))] for own in ("query", "positive", "text")}
    if texts_only or "text" in named or columns == ["text"]:  # SimCSE: a text is its own positive
        if not texts_only and {"query", "positive"} & set(named):
            raise ValueError(
                f"data {name}: columns names both text and query or positive; text alone is its "
                f"own positive, a pair has no text. Leave one out"
            )
        wanted, layout = {"text": wanted["text"]}, Layout(text=wanted["text"][0])
    else:
        del wanted["text"]
        listed = {c for size in sizes for c, n in size if n is not None and n != ONE}
        most = max((_count(dict(size), hard, listed) for size in sizes), default=0)
        number = most if negatives is None else min(negatives, most)
        if negatives is not None and negatives > most:
            level = logging.WARNING if most else logging.INFO
            log.log(level, "data %s: %d negatives requested, rows have %d", name, negatives, most)
        own = named.get("instruction") or ("instruction" if "instruction" in columns else None)
        layout = Layout(
            None, wanted["query"][0], wanted["positive"][0], tuple(hard), frozenset(listed),
            most, number, None if instructed else own,
        )  # fmt: skip
        wanted["negatives"] = hard
        wanted["instruction"] = [layout.instruction] if layout.instruction else []
    _refuse_lacking(columns, wanted, name)
    if left := [c for c in columns if not any(c in theirs for theirs in wanted.values())]:
        log.info("data %s: columns that are not read: %s", name, ", ".join(left))
    _refuse_different(tables, found, {c for part in wanted.values() for c in part}, name)
    return layout


def _measure_size(value: Any) -> Size:
    return len(value) if isinstance(value, list) else None if value is None else ONE


def _count(sizes: Mapping[str, Size], columns: Sequence[str], listed: set[str]) -> int:
    """Return the number of a row's negatives: a list's length, one for each other column."""
    return sum(
        size if size is not None and size != ONE else 0 if size is None and column in listed else 1
        for column in columns
        for size in (sizes.get(column),)
    )


def _refuse_lacking(columns: Sequence[str], wanted: Mapping[str, Sequence[str]], name: str) -> None:
    lacking = [theirs for own in wanted.values() for theirs in own if theirs not in columns]
    if lacking:
        raise ValueError(
            f"data {name} has no column {', '.join(lacking)}; it has: {', '.join(columns)}. Say "
            f"which is which, for instance "
            f"data.sources.{name}.columns={{query: question, positive: answer}}"
        )


def _refuse_different(
    tables: Sequence[Table], found: Sequence[Mapping[str, None]], wanted: set[str], name: str
) -> None:
    """Raise ValueError for files of one source with different columns; of objects, read ones."""
    seen = [
        set(part) if table.columns is not None else set(part) & wanted
        for table, part in zip(tables, found, strict=True)
        if part  # a file that `limit` left unread has shown no columns
    ]
    names = [table.name for table, part in zip(tables, found, strict=True) if part]
    for other, own in zip(names, seen, strict=True):
        if own != seen[0]:
            raise ValueError(
                f"data {name}: files of one source have the same columns; {names[0]} has "
                f"{', '.join(sorted(seen[0]))}, {other} has {', '.join(sorted(own))}. Make them "
                f"alike, or name them as sources of their own"
            )


def read_texts(row: Mapping[str, Any], layout: Layout, draw: random.Random) -> dict[str, Any]:
    """Return a row's texts by our names. Of more negatives than wanted some are drawn, fewer are
    repeated; a value that is no string is returned unchanged (see `find_fault`)."""
    if layout.text is not None:
        return {"text": row.get(layout.text)}
    own: list[Any] = []
    for column in layout.negatives:
        value = row.get(column)
        if isinstance(value, list):
            own += value
        elif value is not None or column not in layout.listed:
            own.append(value)
    if len(own) > layout.number:
        own = draw.sample(own, layout.number)
    elif own:
        own = (own * layout.number)[: layout.number]
    texts = {"query": row.get(layout.query), "positive": row.get(layout.positive)}
    texts |= {f"negative_{place + 1}": text for place, text in enumerate(own)}
    read = {
        column: _read_text(value, first=column == "positive") for column, value in texts.items()
    }
    if layout.instruction is not None:
        read["instruction"] = row.get(layout.instruction) or ""
    return read


def _read_text(value: Any, *, first: bool) -> Any:
    """Return a text: Tevatron's title and text joined, a list's only text, or its first for a
    positive. A list of several texts (an instruction and a text, say) is returned as it is."""
    if isinstance(value, list) and (first or len(value) < 2):
        value = value[0] if value else None
    if isinstance(value, dict):
        parts = [value.get("title"), value.get("text")]
        if all(part is None or isinstance(part, str) for part in parts):
            return " ".join(part or "" for part in parts).strip()
    return value


def find_fault(texts: Mapping[str, Any], layout: Layout) -> str | None:
    """Return what makes a row's texts impossible to train on, or None."""
    needed = 2 + layout.number + (layout.instruction is not None)
    if layout.text is None and len(texts) < needed:
        return f"it has no negatives, other rows have {layout.most}"
    for column, text in texts.items():
        if column == "instruction" and text == "":
            continue  # a row without a task of its own
        if fault := find_text_fault(column, text):
            return fault
        if column.startswith("negative") and text == texts["positive"]:
            return f"{column} is the positive: {text[:60]!r}"
    return None


def find_text_fault(column: str, text: Any) -> str | None:
    """Return what makes a value no text to encode, naming its column, or None."""
    if text is None or text == "":
        return f"{column} is {'None' if text is None else 'empty'}"
    if not isinstance(text, str):
        return f"{column} is {str(text)[:60]}, of type {type(text).__name__}, not text"
    if not text.strip():
        return f"{column} is {text[:60]!r}"
    if half := re.search(r"[\ud800-\udfff]", text):
        code = f"U+{ord(half.group()):04X}"
        return f"{column} has half a surrogate pair, {code}, at character {half.start()}"
    return None
