"""Stream texts with their ids out of files, and check every row before anything is encoded.

A row is numbered twice: over all files, and within its file, both from 0. Nothing is held but a
batch of rows; which ids were met before is asked of a database on disk.
"""

from __future__ import annotations

import glob
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from methods.data.readers import TEXTS, Table, find_files, open_table

SIZE = 1 << 63  # of a 64-bit whole number, which an id may be


@dataclass(frozen=True)
class TextRow:
    """One row. number: over all files. file, row: where it lies. text, id: as they were read."""

    number: int
    file: str
    row: int
    text: Any
    id: Any

    @property
    def place(self) -> str:
        """Return where the row lies, for a message."""
        return f"{self.file}, row {self.row}"


@dataclass(frozen=True)
class TextFiles:
    """The rows of files, in order. column: of the texts. id: of the ids; None: numbers."""

    files: tuple[Path, ...]
    column: str
    id: str | None = None

    @cached_property
    def tables(self) -> list[Table]:
        """Return the files as tables of the columns that are read. Raises ValueError for a file
        that lacks one."""
        wanted = {self.column: "column", **({self.id: "id"} if self.id else {})}
        found = []
        for file in self.files:
            columns = open_table(file).columns
            for column, key in wanted.items():
                if columns is not None and column not in columns:
                    raise ValueError(
                        f"{file} has no column {column}; it has: {', '.join(columns)}. Name "
                        f"another: {key}=NAME"
                    )
            found.append(open_table(file, columns=list(wanted)))
        return found

    def rows(self) -> Iterator[TextRow]:
        """Yield every row, from the first."""
        number = 0
        for table in self.tables:
            for row, values in enumerate(table.rows()):
                own = number if self.id is None else values.get(self.id)
                yield TextRow(number, table.name, row, values.get(self.column), own)
                number += 1


def find_text_files(given: str | Sequence[str]) -> tuple[Path, ...]:
    """Return the files that a path, a folder, a pattern or a list of these names, in order.

    Raises ValueError for what matches nothing, and for files that are no stream of rows.
    """
    found: list[Path] = []
    for one in [given] if isinstance(given, str) else given:
        path = Path(one).expanduser()
        if path.exists():
            places = [path]
        else:
            places = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        if not places:
            raise ValueError(f"in={one}: there is no such file or folder, and no file matches it")
        for place in places:
            if place.suffix.lower() == ".json":
                raise ValueError(
                    f"{place} is one JSON array, which cannot be streamed; write an object a line "
                    f"(.jsonl)"
                )
            found += find_files(place, TEXTS)
    if twice := next((file for file in found if found.count(file) > 1), None):
        raise ValueError(f"{twice} is named twice in in=; name it once")
    return tuple(found)


class RowChecks:
    """What makes rows impossible to encode: no text, no id, an id that an earlier row has.

    kind: of the ids seen so far, `int` or `str`. The ids are held in a temporary file.
    """

    def __init__(self) -> None:
        self.kind: type | None = None
        self._ids = sqlite3.connect("")  # a private file, removed when it is closed
        for setting in ("cache_size = -16000", "journal_mode = off", "synchronous = off"):
            self._ids.execute(f"pragma {setting}")
        self._ids.execute("create table ids (id primary key, number) without rowid")

    def __enter__(self) -> RowChecks:
        return self

    def __exit__(self, *_: object) -> None:
        self._ids.close()

    def find_fault(self, row: TextRow, *, has_ids: bool) -> str | None:
        """Return what is wrong with a row, or None. has_ids: whether ids come from a column."""
        if not isinstance(row.text, str):
            kind = "" if row.text is None else f", of type {type(row.text).__name__}"
            return f"its text is {str(row.text)[:60]!r}{kind}"
        if not row.text.strip():
            return f"its text is {row.text[:60]!r}"
        for name, value in (("text", row.text), ("id", row.id)):
            try:
                str(value).encode()
            except UnicodeEncodeError as error:
                return f"its {name} has half a surrogate pair at character {error.start}"
        return self._find_fault_of_id(row) if has_ids else None

    def _find_fault_of_id(self, row: TextRow) -> str | None:
        own = row.id
        if isinstance(own, bool) or not isinstance(own, int | str) or own == "":
            return f"its id is {str(own)[:60]!r}; an id is a text or a whole number"
        if isinstance(own, int) and not -SIZE <= own < SIZE:
            return f"its id {own} does not fit into 64 bits; make it a text"
        self.kind = self.kind or type(own)
        if type(own) is not self.kind:
            return f"its id {own!r} is of another type than the ids before it; make all texts"
        done = self._ids.execute("insert or ignore into ids values (?, ?)", (own, row.number))
        if done.rowcount == 1:
            return None
        (before,) = self._ids.execute("select number from ids where id = ?", (own,)).fetchone()
        return f"its id {own!r} is that of an earlier row, number {before} of all"
