"""Ask a folder of documents: the passages nearest to a question, and an answer from them.

    dec2vec ask docs --question "how do I install it?"
    dec2vec ask docs                        # one question after the other, or lines of a pipe
    dec2vec ask docs method=echo model=smollm2_135m --answer --question "how do I install it?"

DOCS is a folder of .txt, .md, .html, .rst, .pod, .py (docstrings) and .pdf files, or one of them.
Its index is built on the first run; later runs encode what has changed. key=value words:

    method=NAME model=NAME adapter=DIR      the encoder, as in load_encoder (default: method=
                                            sentence_encoder, all-MiniLM-L6-v2), and its fields
                                            (pooling= layer= dtype= ...)
    index=DIR            the index (default: a folder in the user's cache, named in the output)
    include='*.md'       only files whose name or path matches
    top=3                the most passages that are shown
    threshold=0.4        the least cosine that counts as relevant (default: measured on the
                         documents when they are indexed)
    max_tokens=200       of a passage
    max_mib=16           of a file; larger ones are skipped
    instruction=TEXT     for methods that use one
    search=exact         every passage is compared with a question; faiss: few are, for a large
                         index (pip install -e '.[faiss]'); auto, the default: exact up to a million
    max_new_tokens=128   of an answer
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from methods.cli.try_ import parse_value

NUMBERS = {"top": 3, "max_tokens": 200, "max_new_tokens": 128, "max_mib": 16}
TEXTS = ("index", "include", "instruction")
SEARCHES = ("auto", "exact", "faiss")
KEYS = (*TEXTS, *NUMBERS, "threshold", "search")


@dataclass
class Request:
    """What the command line asks for. encoder: options of load_encoder."""

    docs: Path
    questions: list[str]
    answers: bool = False
    rebuild: bool = False
    index: str | None = None
    include: str | None = None
    instruction: str | None = None
    threshold: float | None = None
    search: Any = "auto"
    numbers: dict[str, int] = field(default_factory=lambda: dict(NUMBERS))
    encoder: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    """Run the verb."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("methods.backbone.sources").setLevel(logging.INFO)  # what is being fetched
    logging.getLogger("transformers").setLevel(logging.ERROR)
    sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    sys.stdin.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        request = parse(sys.argv[1:], prog=sys.argv[0])
        index = open_documents(request)
        for question in request.questions or read_questions():
            ask(request, index, question)
    except (ValueError, OSError) as error:
        sys.exit(f"dec2vec ask: {error}")


def parse(arguments: list[str], *, prog: str = "dec2vec ask") -> Request:
    """Read the command line. Raises ValueError for what is no option."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", metavar="DOCS key=value")
    parser.add_argument(
        "--question", action="append", default=[], help="may be given several times"
    )
    parser.add_argument("--answer", action="store_true", help="also write an answer from them")
    parser.add_argument("--rebuild", action="store_true", help="discard the index, and build it")
    parser.add_argument("--config-dir", help="a folder with more method/*.yaml")
    options = parser.parse_intermixed_args(arguments)
    if not options.words:
        raise ValueError('no documents are given: dec2vec ask DOCS --question "..."')
    request = Request(Path(options.words[0]), options.question, options.answer, options.rebuild)
    if not request.docs.expanduser().exists():
        raise ValueError(f"{request.docs} is neither a folder nor a file; DOCS comes first")
    seen = set()
    for word in options.words[1:]:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(
                f"{word!r} is no key=value; a question is one word, in quotes, after --question"
            )
        if key in seen:
            raise ValueError(f"{key} is given twice")
        seen.add(key)
        _set_option(request, key, value)
    if options.config_dir is not None:
        request.encoder["config_dir"] = options.config_dir
    if not {"method", "adapter"} & request.encoder.keys():
        request.encoder["method"] = "sentence_encoder"
    return request


def _set_option(request: Request, key: str, value: str) -> None:
    if key in NUMBERS:
        if not value.isdecimal() or int(value) < 1:
            raise ValueError(f"{key}={value}; it is a whole number, 1 or more")
        request.numbers[key] = int(value)
    elif key == "threshold":
        try:
            request.threshold = float(value)
        except ValueError:
            request.threshold = 2.0
        if not -1 <= request.threshold <= 1:
            raise ValueError(f"threshold={value}; it is a cosine, between -1 and 1")
    elif key == "search":
        if value not in SEARCHES:
            raise ValueError(f"search={value}; valid: {', '.join(SEARCHES)}")
        request.search = value
    elif key in TEXTS:
        if not value:
            raise ValueError(f"{key} is empty; give {key}=VALUE, or leave it out")
        setattr(request, key, value)
    else:
        request.encoder[key] = parse_value(key, value)


def open_documents(request: Request) -> Any:
    """Load the encoder and bring the index up to date, saying what was done."""
    from methods import load_encoder
    from methods.cli.ask_text import format_build
    from methods.documents.answer import check_generates
    from methods.documents.build import build_index

    encoder = load_encoder(request.encoder.get("method"), **_drop_method(request.encoder))
    if request.answers:
        check_generates(encoder)
    start = time.perf_counter()
    index = build_index(
        request.docs,
        request.index or _choose_folder(request, encoder),
        encoder=encoder,
        max_tokens=request.numbers["max_tokens"],
        include=request.include,
        max_bytes=request.numbers["max_mib"] << 20,
        rebuild=request.rebuild,
    )
    print("\n".join(format_build(index, time.perf_counter() - start)), flush=True)
    return index


def _drop_method(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "method"}


def _choose_folder(request: Request, encoder: Any) -> Path:
    """Return the folder of an index that was not named: one for each way of making it."""
    from methods.documents.vectors import describe_encoder
    from methods.folders import find_cache_folder
    from methods.identity import digest

    docs = request.docs.expanduser().resolve()
    made = [str(docs), request.include, request.numbers["max_tokens"], describe_encoder(encoder)]
    return find_cache_folder() / "indexes" / f"{docs.name or 'root'}-{digest(made, 12)}"


def read_questions() -> Iterator[str]:
    """Yield questions, a line each, from a terminal or a pipe, until it ends."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    print("\nAsk; Ctrl-D ends.")
    while True:
        try:
            line = input("\n? ").strip()
        except EOFError:
            print()
            return
        if line:
            yield line


def ask(request: Request, index: Any, question: str) -> None:
    """Print what a question finds, and then an answer where one was asked for."""
    from methods.cli.ask_text import format_answer, format_found
    from methods.documents.answer import answer
    from methods.documents.search import search

    start = time.perf_counter()
    found = search(
        index,
        question,
        top=request.numbers["top"],
        threshold=request.threshold,
        instruction=request.instruction,
        kind=request.search,
    )
    print("\n".join(format_found(found, time.perf_counter() - start)), flush=True)
    if request.answers and found.relevant:
        start = time.perf_counter()
        limit = request.numbers["max_new_tokens"]
        written = answer(index.encoder, question, found.relevant, max_new_tokens=limit)
        name, seconds = index.encoder.backbone.identity["name"], time.perf_counter() - start
        print("\n".join(format_answer(written, name, seconds)), flush=True)
