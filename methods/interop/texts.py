"""The texts that encoders are compared on: a built-in set of telling ones, or a file's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from methods.data.readers import KINDS, open_table
from methods.tokens import check_texts

PARAGRAPH = (
    "The harbour was built in stone after the storm, and every boat that came in from the islands "
    "paid a small fee to the town. In winter the fishermen mended nets and told the children where "
    "the currents run; in spring they painted the hulls green and went out again before sunrise. "
)
# Each text is one that some pair of encoders is known to treat differently.
TELLING: tuple[str, ...] = (
    "A cat sleeps on the warm windowsill.",
    "How do I boil an egg?",
    "one",
    "",  # nothing, or a BOS
    "   ",
    "  blanks before, behind  and between ",
    "Two\nlines, and an empty one\n\nabove the third\n",
    "a tab\there, a return\r\nthere",
    'He said "no" and left.',
    "On 3 May 1987 it cost 1,234.56 euros, or 7%.",  # some tokenizers split digits
    "naïve café, Ångström: composed",
    "nai\u0308ve cafe\u0301, A\u030angstro\u0308m: decomposed",
    "これは日本語の短い文です。",
    "Привет, мир! Καλημέρα.",
    "مرحبا بالعالم، שלום עולם",
    "🙂 👩‍👩‍👧‍👦 emoji, joined and alone",
    "\u200bzero width,\u00a0no-break and\u3000wide blanks",
    "</s> <s> [CLS] [SEP] <|im_start|>user <|im_end|> <|endoftext|>",  # in the text itself
    "for i in range(10):\n    print(f'{i:>3}')  # code",
    "https://example.org/a?b=c&d=%20#e me@example.org",
    "ALL CAPITALS, {braces} [brackets] %s {0} \\n",
    "Instruct: find it\nQuery: a text that looks like a prompt",
    PARAGRAPH * 6,  # about 350 tokens: longer than 128 and 256
    PARAGRAPH * 45,  # about 2,600 tokens: longer than every method takes
)


def read_texts(file: Path, *, column: str | None = None) -> list[str]:
    """Read texts: the lines of a .txt file, or a column of the kinds of readers.py.

    column: None for `text`, or the only one there is. Raises ValueError naming what the file has.
    """
    if not file.is_file():
        raise ValueError(f"there is no file {file}; texts= takes a file, or a list: texts=[a,b]")
    kind = file.suffix.lower().removeprefix(".")
    if kind == "txt":
        if column is not None:
            raise ValueError(f"{file} has no columns: its lines are the texts; leave column= out")
        return _read_lines(file)
    if kind not in KINDS:
        raise ValueError(f"{file} is of no known kind; valid: .txt, .{', .'.join(KINDS)}")
    rows = list(open_table(file).rows())
    names = list(dict.fromkeys(name for row in rows for name in row))
    wanted = column or ("text" if "text" in names or len(names) != 1 else names[0])
    if wanted not in names:
        raise ValueError(
            f"{file} has no column {wanted!r}; it has: {', '.join(names) or 'no row'}. Name the "
            f"one with the texts: column=NAME"
        )
    return check_texts(row.get(wanted) for row in rows)


def _read_lines(file: Path) -> list[str]:
    try:
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: byte {error.start} is not UTF-8; save it as UTF-8") from None
    if lines[-1] == "":  # what follows the last line break is no line
        del lines[-1]
    return [line.removesuffix("\r") for line in lines]


def choose_texts(
    given: Any, *, column: str | None = None, limit: int | None = None
) -> tuple[list[str], str]:
    """Return the texts and what they are called: built-in ones for None, a list's, or a file's."""
    if given is None:
        texts, source = list(TELLING), "built-in texts"
    elif isinstance(given, str | Path):
        texts, source = read_texts(Path(given).expanduser(), column=column), f"texts of {given}"
    else:
        texts, source = check_texts(given), "texts"
    if not texts:
        raise ValueError(f"{source}: there is none; give at least one")
    return texts[:limit], source
