"""Read Markdown, HTML and reStructuredText into texts with their sections."""

from __future__ import annotations

import re
import warnings

from methods.documents.sections import Heading, Text, find_line_starts, nest_sections

# Elements that are not a page's content; a.headerlink is Sphinx' mark beside every heading.
UNSEEN = "script, style, noscript, template, svg, head, nav, footer, a.headerlink"
UNSEEN += ", [role=navigation], [role=search]"
FRONT_MATTER = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.S)
RULE = re.compile(r"""([!-/:-@\[-`{-~])\1*[ \t]*""")  # a line of one punctuation mark


def read_markdown(text: str) -> Text:
    """Return a Markdown text with the sections under its headings, by CommonMark's rules."""
    from markdown_it import MarkdownIt

    blank = FRONT_MATTER.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    parser = MarkdownIt("commonmark").disable("inline")  # blocks alone: nothing within a line
    starts = find_line_starts(text)
    headings, tokens = [], parser.parse(blank)
    for token, content in zip(tokens, tokens[1:], strict=False):
        if token.type == "heading_open" and token.map and token.level == 0:
            first, last = token.map
            title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", content.content)
            headings.append(Heading(int(token.tag[1:]), title, starts[first], starts[last]))
    return nest_sections(text, headings)


def read_html(data: bytes) -> Text:
    """Return an HTML page as Markdown, with its sections."""
    from bs4 import BeautifulSoup, XMLParsedAsHTMLWarning
    from markdownify import MarkdownConverter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)  # XHTML is read as browsers read it
        soup = BeautifulSoup(data, "html.parser", from_encoding=_find_encoding(data))
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for element in soup.select(UNSEEN):
        element.decompose()
    content = soup.select_one("main, [role=main]") or soup
    text = MarkdownConverter(heading_style="ATX", strip=["a", "img"]).convert_soup(content)
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    if title and not re.search(r"^# ", text, re.M):
        text = f"# {' '.join(title.split())}\n\n{text}"
    return read_markdown(text)


def _find_encoding(data: bytes) -> str | None:
    """Return the encoding of a page that names none, as browsers take it; None for one it names."""
    from bs4.dammit import EncodingDetector

    detector = EncodingDetector(data, is_html=True)
    if detector.sniffed_encoding or EncodingDetector.find_declared_encoding(data, is_html=True):
        return None
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"


def read_rst(text: str) -> Text:
    """Return a reStructuredText with the sections under its titles.

    A title's level is the order in which its kind of underline is first met.
    """
    lines, starts = text.split("\n"), find_line_starts(text)
    kinds: list[str] = []
    headings: list[Heading] = []
    for number in range(1, len(lines)):
        title, under = lines[number - 1].rstrip(), lines[number].rstrip()
        if not _underlines(title, under):
            continue
        over = number > 1 and lines[number - 2].rstrip() == under
        if not over and (title[0].isspace() or number > 1 and lines[number - 2].strip()):
            continue  # a paragraph of several lines, or indented text
        kind = under[0] * (2 if over else 1)
        if kind not in kinds:
            kinds.append(kind)
        first = starts[number - 2 if over else number - 1]
        named = re.sub(r":\w+:`([^`<]*?)(?: <[^>]*>)?`|[`*]", r"\1", title)
        headings.append(Heading(kinds.index(kind) + 1, named, first, starts[number + 1]))
    found = nest_sections(text, headings)
    return Text(text, tuple(s for s in found.sections if _has_prose(text[s.start : s.end])))


def _has_prose(text: str) -> bool:
    """Return whether a section holds more than directives, such as a table of contents."""
    return any(
        line.strip() and not re.match(r"\s*(\.\. |:[\w-]+:)", line) for line in text.split("\n")
    )


def _underlines(title: str, under: str) -> bool:
    if not title or not RULE.fullmatch(under) or RULE.fullmatch(title):
        return False
    return len(under) >= max(len(title.strip()), 2)
