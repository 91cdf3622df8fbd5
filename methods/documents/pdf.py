"""Read the text of a PDF, a section for each page under what its outline says."""

from __future__ import annotations

import re
from typing import Any

from methods.documents.sections import Section, Text


def read_pdf(data: bytes) -> Text:
    """Return a PDF's text, page by page. Raises ValueError for one that is encrypted or broken."""
    from pypdfium2 import PdfDocument, PdfiumError

    try:
        document = PdfDocument(data)
    except PdfiumError as error:
        if "password" in str(error).lower() or "security" in str(error).lower():
            raise ValueError("encrypted; save it without a password") from error
        raise ValueError(f"a broken PDF: {error}") from error
    try:
        pages = [_read_page(document, number) for number in range(len(document))]
        outline = _find_outline(document)
    except PdfiumError as error:
        raise ValueError(f"a broken PDF: {error}") from error
    finally:
        document.close()
    if not any(pages):
        raise ValueError(f"{len(pages)} pages without text, such as scans; recognise it first")
    return _join_pages(pages, outline)


def _read_page(document: Any, number: int) -> str:
    page = document[number]
    shown = page.get_textpage().get_text_range()
    page.close()
    shown = re.sub("(?:\ufffe|\u00ad)(?:\r?\n)?", "", shown)  # a word that goes on in the next line
    return shown.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").strip()


def _find_outline(document: Any) -> dict[int, tuple[str, ...]]:
    """Return the titles above the first entry of the outline on each page that has one."""
    found: dict[int, tuple[str, ...]] = {}
    above: list[str] = []
    for entry in document.get_toc():
        target = entry.get_dest()
        above = [*above[: entry.level], " ".join(entry.get_title().split())]
        if target is not None and target.get_index() is not None:
            found.setdefault(target.get_index(), tuple(title for title in above if title))
    return found


def _join_pages(pages: list[str], outline: dict[int, tuple[str, ...]]) -> Text:
    parts: list[str] = []
    sections: list[Section] = []
    length, titles = 0, ()
    for number, page in enumerate(pages):
        titles = outline.get(number, titles)
        if page:
            headings = (*titles, f"page {number + 1}")
            sections.append(Section(headings, length, length + len(page)))
        parts.append(page + "\n\n")
        length += len(parts[-1])
    return Text("".join(parts), tuple(sections))
