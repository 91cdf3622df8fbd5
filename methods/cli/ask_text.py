"""Format what `dec2vec ask` prints: the index, passages and answers, wrapped to the terminal."""

from __future__ import annotations

import shutil
import textwrap
from typing import Any

from methods.documents.answer import Answer, describe_place
from methods.documents.search import Found

WIDEST = 100
NAMES = 3  # of skipped files that are printed for each reason


def format_build(index: Any, seconds: float) -> list[str]:
    """Return what was done to an index, and what of the documents is not in it."""
    changes, files = index.changes, index.list_files()
    done = [f"{getattr(changes, name)} {name}" for name in ("new", "changed", "removed")]
    done = [one for one in done if not one.startswith("0 ")] or ["nothing has changed"]
    lines = [
        f"{len(index)} passages of {len(files)} files: {', '.join(done)}; "
        f"{changes.encoded} passages encoded; {seconds:.1f} s",
    ]
    reasons: dict[str, list[str]] = {}
    for one in index.skipped:
        reasons.setdefault(one.reason, []).append(one.file)
    for reason, names in reasons.items():
        more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
        lines.append(f"skipped: {', '.join(names[:NAMES])}{more}: {reason}")
    if index.unknown:
        number = sum(index.unknown.values())
        most = sorted(index.unknown, key=lambda suffix: (-index.unknown[suffix], suffix))
        lines.append(f"not looked at: {number} files of other suffixes ({', '.join(most[:6])})")
    if index.hidden:
        lines.append(f"not looked at: {index.hidden} hidden files and folders")
    if index.relevance is not None:
        lines.append(index.relevance.describe())
    wrapped = [part for line in lines for part in _wrap(line, "", "    ")]
    return [wrapped[0], f"index: {index.folder}", *wrapped[1:]]


def format_found(found: Found, seconds: float) -> list[str]:
    """Return the relevant passages with scores, file and section; or that there are none."""
    lines = ["", *_wrap(f"? {found.question}", "", "  "), ""]
    for hit in found.relevant:
        lines += _wrap(f"[{hit.number}] {hit.score:.3f}  {describe_place(hit)}", "", "    ")
        lines += format_passage(hit.passage.text)
        lines.append("")
    if not found.relevant:
        nearest = found.hits[0]
        lines += _wrap(
            f"Nothing relevant was found: the nearest passage scores {nearest.score:.3f}, below "
            f"{found.threshold:.3f} ({describe_place(nearest)}).",
            "",
            "",
        )
        lines.append("")
    return [*lines, f"({seconds:.2f} s)"]


def format_answer(answer: Answer, model: str, seconds: float) -> list[str]:
    """Return an answer, and which passages it names."""
    text = answer.text or "(The model wrote nothing.)"
    lines = ["", "Answer:", *format_passage(text), ""]
    named = "it cites " + ", ".join(f"[{number}]" for number in answer.cited)
    if not answer.cited:
        named = "it cites none of " + ", ".join(f"[{number}]" for number in answer.given)
    if answer.unknown:
        named += f", and {answer.unknown} that it was not given"
    note = f"(written by {model}, {seconds:.1f} s; {named}; check it against them)"
    return [*lines, *_wrap(note, "", " ")]


def format_passage(text: str) -> list[str]:
    """Return a text's lines, indented; long ones are wrapped, and no control code is printed."""
    return [part for line in text.strip().split("\n") for part in _wrap(line, "    ", "    ")]


def _wrap(line: str, first: str, others: str) -> list[str]:
    shown = "".join(c if c.isprintable() else " " for c in line.expandtabs(4)).rstrip()
    width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    indent = shown[: len(shown) - len(shown.lstrip())]
    wrapped = textwrap.wrap(
        shown.lstrip(),
        max(width, 40),
        initial_indent=first + indent,
        subsequent_indent=others + indent,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )
    return wrapped or [""]
