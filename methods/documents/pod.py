"""Read Perl's POD into plain text with the sections under its `=head` commands."""

from __future__ import annotations

import re

from methods.documents.sections import Heading, Text, nest_sections

HEAD = re.compile(r"=head([1-6])\s+(.*)", re.S)
COMMAND = re.compile(r"=(\w+)\s*(.*)", re.S)
CODE = re.compile(r"([A-Z])(?:<<+\s(.*?)\s>>+|<([^<>]*)>)", re.S)
ENTITIES = {"lt": "<", "gt": ">", "verbar": "|", "sol": "/", "quot": '"', "amp": "&"}
OPENED, CLOSED = "\ue000", "\ue001"  # stand for < and > until all codes are read


def read_pod(text: str) -> Text:
    """Return a POD's text without its commands and formatting codes, and its sections."""
    parts: list[str] = []
    headings: list[Heading] = []
    length, within, skipped = 0, text.lstrip().startswith("="), False
    for paragraph in re.split(r"\n(?:[ \t]*\n)+", text.strip("\n")):
        command = COMMAND.match(paragraph)
        name = command[1] if command else ""
        skipped = name == "begin" or (skipped and name != "end")
        within = name != "cut" and (within or bool(command))
        if skipped or not within or name in ("begin", "end", "for", "cut", "pod", "encoding"):
            continue
        shown = _format_paragraph(paragraph, command)
        if shown:
            if head := HEAD.match(paragraph):
                place = Heading(int(head[1]), shown, length, length + len(shown) + 2)
                headings.append(place)
            parts.append(shown + "\n\n")
            length += len(parts[-1])
    return nest_sections("".join(parts), headings)


def _format_paragraph(paragraph: str, command: re.Match[str] | None) -> str:
    """Return a paragraph as it is shown; nothing for a command that shows nothing."""
    if command is None:
        verbatim = paragraph[:1].isspace()
        return paragraph.rstrip() if verbatim else strip_codes(paragraph).strip()
    name, rest = command[1], strip_codes(command[2]).strip()
    if name == "item":
        shown = re.sub(r"^\*\s*", "", rest)
        return f"* {shown}" if shown else ""
    return " ".join(rest.split()) if name.startswith("head") else ""


def strip_codes(text: str) -> str:
    """Return text without formatting codes such as `C<...>`, from the innermost outwards."""
    while (shown := CODE.sub(_show, text)) != text:
        text = shown
    return text.replace(OPENED, "<").replace(CLOSED, ">")


def _show(found: re.Match[str]) -> str:
    code, content = found[1], found[2] if found[2] is not None else found[3]
    if code in "XZ":
        return ""
    if code == "E":
        content = ENTITIES.get(content, chr(int(content)) if content.isdecimal() else content)
    elif code == "L":
        named, bar, target = content.partition("|")
        content = named if bar else target or named.replace("/", " ").replace('"', "").strip()
    return content.replace("<", OPENED).replace(">", CLOSED)
