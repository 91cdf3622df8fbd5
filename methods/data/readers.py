"""Read files of rows, each format by its own rules and every text unchanged.

TSV has no quotes: a field is what lies between two tabs. CSV follows RFC 4180: fields in double
quotes may hold commas, line breaks and doubled quotes. In neither is a text turned into a number or
a missing value (`NA`, `007`, `1.0` and the empty text stay). jsonl holds one object a line, json an
array of objects or LlamaIndex' EmbeddingQAFinetuneDataset. Of txt each line is a text, where it is
read at all (TEXTS). Text files are UTF-8, with or without
BOM, with LF or CRLF. Faults are ValueErrors that name the file and, where it has lines, the line
(counted from 1).

Files are streamed, except .json, which is loaded whole.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from methods.data import llama_index

KINDS = {"parquet": "parquet", "jsonl": "json", "json": "json", "csv": "csv", "tsv": "csv"}
# What can be encoded: the same, but for json, which is no stream; and lines of text.
TEXTS = {"parquet": "parquet", "jsonl": "jsonl", "csv": "csv", "tsv": "csv", "txt": "txt"}
# What a file begins with that is no text, and what to do about it.
NO_TEXT = {
    b"\x1f\x8b": "compressed by gzip; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it",
    b"BZh": "compressed by bzip2; unpack it",
    b"\xfd7zXZ": "compressed by xz; unpack it",
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it, or save it as CSV",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run `git lfs pull` there",
    codecs.BOM_UTF16_LE: "UTF-16; save it as UTF-8",
    codecs.BOM_UTF16_BE: "UTF-16; save it as UTF-8",
}
PACKED = (".gz", ".zst", ".bz2", ".xz", ".zip")


@dataclass(frozen=True)
class Table:
    """Rows that can be read more than once.

    name: for messages. columns: those of a header or schema; None where each row names its own.
    rows: starts reading at the first row. numbered: of a text file, the same with each row's line.
    """

    name: str
    columns: tuple[str, ...] | None
    rows: Callable[[], Iterator[dict[str, Any]]]
    numbered: Callable[[], Iterator[tuple[int, dict[str, Any]]]] | None = None

    def iterate_places(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each row with where it stands: `line 7`, or `row 6`, counted from 0."""
        if self.numbered is not None:
            yield from ((f"line {number}", row) for number, row in self.numbered())
        else:
            yield from ((f"row {number}", row) for number, row in enumerate(self.rows()))


def find_files(path: Path, kinds: Mapping[str, str] = KINDS) -> list[Path]:
    """Return the file itself, or a folder's data files of one kind, sorted by name.

    kinds: suffix -> kind, of what can be read. Raises ValueError for a path that does not exist or
    holds nothing to read or several kinds.
    """
    if not path.exists():
        raise ValueError(f"there is no {path}")
    inside = [] if path.is_file() else [p for p in sorted(path.rglob("*")) if not p.is_dir()]
    for file in inside or [path]:
        if file.suffix.lower() in PACKED and (
            _find_kind(file.with_suffix(""), kinds) or file == path
        ):
            raise ValueError(f"{file} is compressed, which is not supported; unpack it")
    files = [path] if path.is_file() else [f for f in inside if _find_kind(f, kinds)]
    found = {_find_kind(file, kinds) for file in files}
    if not files or None in found or len(found) > 1:
        raise ValueError(
            f"{path} holds {', '.join(sorted({f.suffix for f in files})) or 'nothing'}"
            f" to read; valid are files of one kind: {', '.join(kinds)}"
        )
    return files


def open_table(file: Path, *, columns: Sequence[str] | None = None) -> Table:
    """Open a file by its suffix; its header is read at once, its rows when they are asked for.

    columns: of parquet, those that rows hold; the others are not read.
    """
    kind = file.suffix.lower().removeprefix(".")
    return _open_parquet(file, columns) if kind == "parquet" else _OPENERS[kind](file)


def _find_kind(file: Path, kinds: Mapping[str, str]) -> str | None:
    hidden = file.name.startswith(".")
    return None if hidden else kinds.get(file.suffix.lower().removeprefix("."))


def _read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers and line ends; only LF ends a line, as JSON needs it."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if number == 1:
                for start, what in NO_TEXT.items():
                    if line.startswith(start):
                        raise ValueError(f"{file} is {what}")
                line = line.removeprefix(codecs.BOM_UTF8)
            if b"\0" in line:
                raise ValueError(
                    f"{file}, line {number} has a zero byte, as in UTF-16 or a binary file; save "
                    f"it as UTF-8"
                )
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{file}, line {number}: byte {error.start} of the line, "
                    f"0x{line[error.start]:02x}, is not UTF-8; save the file as UTF-8"
                ) from None


def _read_csv(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line number of each CSV record and its fields; blank lines are no records."""
    csv.field_size_limit(2**31 - 1)  # the module's own limit is 128 KiB, less than a document
    reader = csv.reader((text for _, text in _read_lines(file)), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"{file}, line {line}: no CSV by RFC 4180 ({error}); a field with a quote, a comma "
                f"or a line break stands in double quotes, and its own quotes are doubled"
            ) from error
        if fields:
            yield line, fields


def _read_tsv(file: Path) -> Iterator[tuple[int, list[str]]]:
    for line, text in _read_lines(file):
        text = text.removesuffix("\n").removesuffix("\r")
        if text:
            yield line, text.split("\t")


def _open_delimited(file: Path) -> Table:
    """Open CSV or TSV, whose first record names the columns."""
    split = _read_tsv if file.suffix.lower() == ".tsv" else _read_csv
    header = next((fields for _, fields in split(file)), None)
    if header is None:
        raise ValueError(f"{file} is empty; its first line names the columns")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ValueError(f"{file}: its header names {', '.join(map(repr, twice))} twice")
    _refuse_other_separator(file, header)

    def numbered() -> Iterator[tuple[int, dict[str, Any]]]:
        records = split(file)
        next(records)
        for line, fields in records:
            if len(fields) != len(header):
                raise ValueError(
                    f"{file}, line {line} has {len(fields)} fields, the header has {len(header)}: "
                    f"{', '.join(header)}"
                )
            yield line, dict(zip(header, fields, strict=True))

    return Table(str(file), tuple(header), lambda: (row for _, row in numbered()), numbered)


def _refuse_other_separator(file: Path, header: list[str]) -> None:
    """Raise ValueError for a header that is one field although another separator is in it."""
    own, *others = ("\t", ",", ";") if file.suffix.lower() == ".tsv" else (",", "\t", ";")
    found = next((mark for mark in others if mark in header[0]), None) if len(header) == 1 else None
    if found is not None:
        names = {"\t": "tabs", ",": "commas", ";": "semicolons"}
        other = {"\t": ".tsv", ",": ".csv"}.get(found)
        raise ValueError(
            f"{file}: its header is one field, {header[0][:60]!r}; it seems to be separated by "
            f"{names[found]}, not by {names[own]}. "
            f"{f'Rename it to {file.stem}{other}' if other else f'Save it with {names[own]}'}"
        )


def _open_lines(file: Path) -> Table:
    """Open jsonl: one object a line; blank lines are allowed."""

    def numbered() -> Iterator[tuple[int, dict[str, Any]]]:
        for line, text in _read_lines(file):
            if text.strip():
                yield line, _parse_object(text, f"{file}, line {line}")

    return Table(str(file), None, lambda: (row for _, row in numbered()), numbered)


def _parse_object(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON ({error}): {text.strip()[:60]!r}") from None
    if not isinstance(row, dict):
        raise ValueError(
            f"{where} is a JSON {type(row).__name__}, not an object: {text.strip()[:60]!r}; a "
            f"jsonl file has one object a line, an array of objects is a .json file"
        )
    return row


def _open_json(file: Path) -> Table:
    """Open json: an array of objects, LlamaIndex' object, or one object a line."""
    text = "".join(part for _, part in _read_lines(file))
    try:
        content = _parse_json(text, file)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            return _open_lines(file)
        raise ValueError(f"{file}, line {error.lineno} is not JSON ({error.msg})") from None
    if isinstance(content, dict):
        found = [key for key in llama_index.KEYS if key in content]
        if len(found) < 2 and "\n" not in text.strip():
            return Table(str(file), None, lambda: iter([content]))
        content = llama_index.pair_llama_index(llama_index.check_llama_index(content, file), file)
    if not isinstance(content, list):
        raise ValueError(f"{file} is a JSON {type(content).__name__}, not an array of objects")
    for place, row in enumerate(content):
        if not isinstance(row, dict):
            raise ValueError(f"{file}: row {place} is no object: {str(row)[:60]!r}")
    return Table(str(file), None, lambda: iter(content))


def read_llama_index(file: Path) -> llama_index.LlamaIndex | None:
    """Return LlamaIndex' EmbeddingQAFinetuneDataset, its ids checked; None for other JSON."""
    text = "".join(part for _, part in _read_lines(file))
    try:
        content = _parse_json(text, file)
    except json.JSONDecodeError:  # one object a line, or what open_table reports
        return None
    if not isinstance(content, dict) or not any(key in content for key in llama_index.KEYS):
        return None
    return llama_index.check_llama_index(content, file)


def _parse_json(text: str, file: Path) -> Any:
    """Return a file's JSON. Raises ValueError for a name that an object has twice: one is lost."""

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in found if names.count(name) > 1)
            raise ValueError(f"{file}: one object names {twice!r} twice; give each a name")
        return found

    return json.loads(text, object_pairs_hook=check)


def _open_text(file: Path) -> Table:
    """Open txt: each line is a text, without its line end."""

    def rows() -> Iterator[dict[str, Any]]:
        for _, text in _read_lines(file):
            yield {"text": text.removesuffix("\n").removesuffix("\r")}

    return Table(str(file), ("text",), rows)


def _open_parquet(file: Path, columns: Sequence[str] | None = None) -> Table:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    def open_file() -> ParquetFile:
        try:
            return ParquetFile(file)
        except (pyarrow.ArrowException, OSError) as error:
            raise ValueError(f"{file} is no complete parquet file: {error}") from error

    def rows() -> Iterator[dict[str, Any]]:
        with open_file() as parts:
            batches = parts.iter_batches(batch_size=1000, columns=columns)
            while True:
                try:
                    batch = next(batches).to_pylist()
                except StopIteration:
                    return
                except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
                    raise ValueError(f"{file} cannot be read to its end: {error}") from error
                yield from batch

    with open_file() as parts:
        return Table(str(file), tuple(parts.schema_arrow.names), rows)


_OPENERS: dict[str, Callable[[Path], Table]] = {
    "jsonl": _open_lines,
    "json": _open_json,
    "csv": _open_delimited,
    "tsv": _open_delimited,
    "txt": _open_text,
}
