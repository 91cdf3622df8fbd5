"""Read documents into passages: each within a section of one document, at most so many tokens.

from methods.documents.reading import read_passages
reading = read_passages("docs", max_tokens=200, tokenizer=encoder.backbone.tokenizer)
reading.passages, reading.skipped
"""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import os
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from methods.documents.files import MAX_BYTES, Found, Skipped, find_documents, find_format
from methods.documents.markup import read_html, read_markdown, read_rst
from methods.documents.passage import Passage
from methods.documents.pdf import read_pdf
from methods.documents.pod import read_pod
from methods.documents.python_source import read_python
from methods.documents.sections import Text, nest_sections

MAX_TOKENS = 200
FENCE = re.compile(r"(?:(?:`{3,}|~{3,})\w*)?")  # a part without text: of a code block that is cut
CHARACTERS = 4  # of a token, where no tokenizer counts them
READERS: dict[str, Callable[[str], Text]] = {
    "text": lambda text: nest_sections(text, []),
    "markdown": read_markdown,
    "rst": read_rst,
    "pod": read_pod,
    "python": read_python,
}


@dataclass(frozen=True)
class Reading:
    """What was read of a folder. found: what it holds beside: hidden files, unknown suffixes."""

    passages: list[Passage]
    skipped: list[Skipped]
    found: Found


def read_passages(
    place: str | os.PathLike[str],
    *,
    max_tokens: int = MAX_TOKENS,
    tokenizer: Any = None,
    include: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Reading:
    """Read a folder of documents, or one, into passages of at most `max_tokens`.

    tokenizer: an encoder's (`encoder.backbone.tokenizer`); None counts four characters as a token.
    include: a pattern of file names, such as `*.md`. max_bytes: larger files are skipped.
    A file that cannot be read is in `skipped` with the reason; all others go on.
    Raises ValueError for a place that is not there.
    """
    cut = make_cutter(max_tokens, tokenizer)
    found = find_documents(place, include=include, max_bytes=max_bytes)
    passages, skipped = [], list(found.skipped)
    for name, path in found.files.items():
        try:
            passages += read_document(path, name, cut)
        except ValueError as error:
            skipped.append(Skipped(name, str(error)))
    return Reading(passages, skipped, found)


def read_document(path: Path, name: str, cut: Cutter) -> list[Passage]:
    """Return the passages of one file, called `name`. Raises ValueError for one without any."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    text = read_text(data, find_format(name) or "text")
    seen: Counter[tuple[Any, ...]] = Counter()
    passages = []
    for section in text.sections:
        for start, part in cut(text.text[section.start : section.end], name):
            key = (name, section.headings, part)
            seen[key] += 1
            found = hashlib.sha256(json.dumps([*key, seen[key]]).encode()).hexdigest()[:16]
            start += section.start
            passages.append(Passage(found, part, name, section.headings, start, start + len(part)))
    if not passages:
        raise ValueError("empty" if not text.text.strip() else "headings without any text")
    return passages


def read_text(data: bytes, kind: str) -> Text:
    """Return a document's text and sections. Raises ValueError for what is not of its kind."""
    if not data.strip():
        raise ValueError("empty")
    try:
        if kind == "pdf":
            return read_pdf(data)
        if kind == "html":
            _refuse_binary(data)
            return read_html(data)
        text = READERS[kind](_decode(data, kind))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if kind == "python" and not text.sections:
        raise ValueError("a source without docstrings")
    return text


def _decode(data: bytes, kind: str) -> str:
    encoding = "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        _refuse_binary(data)
        if kind == "python":
            try:
                encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
            except SyntaxError as error:
                raise ValueError(f"no Python that this interpreter reads: {error}") from error
    try:
        return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not {encoding.removesuffix('-sig').upper()} (byte {data[error.start]:#x} at "
            f"{error.start}); convert it, as iconv does"
        ) from None


def _refuse_binary(data: bytes) -> None:
    if b"\0" in data and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("binary: it has zero bytes")


Cutter = Callable[[str, str], Iterator[tuple[int, str]]]


def make_cutter(max_tokens: int, tokenizer: Any = None) -> Cutter:
    """Return what cuts a section of a file into passages, with the place where each begins.

    The passages of a section are about equally long: a short rest would be found by its headings
    alone, for any question about them.
    """
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    if max_tokens < 8:
        raise ValueError(f"max_tokens is {max_tokens}; a passage has at least 8 tokens")

    def count(text: str) -> int:
        if tokenizer is None:
            return -(-len(text) // CHARACTERS)
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    def cut(text: str, name: str) -> Iterator[tuple[int, str]]:
        kind = MarkdownSplitter if find_format(name) in ("markdown", "html") else TextSplitter
        number = count(text)
        parts = max(-(-number // max_tokens), 1)
        fair = min(-(-number // parts), max_tokens)
        for start, part in kind.from_callback(count, (fair, max_tokens)).chunk_indices(text):
            if not FENCE.fullmatch(part.strip()):
                yield start, part

    return cut
