"""Compare two encoders stage by stage and name the first difference.

    dec2vec compare "sgpt model=tiny" "sgpt model=tiny pooling=mean"
    dec2vec compare "e5_instruct model=smollm2_135m" st:EXPORTED dtype=float32 texts=texts.txt
    dec2vec compare "st:FOLDER max_seq_length=128" vectors:theirs.npy texts=texts.jsonl side=query

A and B are each a method with its options (as in load_encoder: model=, adapter=, pooling=,
dtype= ...), a sentence-transformers folder or model (st:DIR, st:ORG/NAME, with dtype=,
attn_implementation=, device=, max_seq_length=, prompt=, prompt_name=, trust_remote_code=,
truncate_dim=, normalize_embeddings= ...), or a file of vectors (vectors:FILE; .npy, .parquet,
.jsonl), one for each text. key=value words after them:

    texts=FILE|[a,b]     lines of a .txt, or a column of .jsonl, .json, .csv, .tsv, .parquet
                         (default: 24 built-in texts that tell encoders apart)
    column=NAME          the column with the texts (default: text)
    limit=100            the most texts that are compared
    side=query|document  how both encode the texts (default: as symmetric texts)
    instruction=TEXT     for methods that use one
    out=FILE.json        write what was found, for programs
    any other            an option of both encoders, such as model=tiny dtype=float32

Exit status: 0 where all stages that both show agree within the tolerance, 1 where one differs, 2
where the encoders cannot be compared. Another kernel alone is no difference; another dtype is none
either, and widens the tolerance.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from methods.cli.try_ import parse_value

KEYS = ("texts", "column", "limit", "side", "instruction", "out")
LIMIT = 100
SIDES = ("query", "document", "none")


@dataclass
class Request:
    """What the command line asks for. shared: options of both encoders."""

    a: str
    b: str
    texts: Any = None
    column: str | None = None
    limit: int = LIMIT
    side: str | None = None
    instruction: str | None = None
    out: Path | None = None
    config_dir: str | None = None
    shared: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    """Run the verb."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("methods.backbone.sources").setLevel(logging.INFO)  # what is being fetched
    for name in ("transformers", "sentence_transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        request = parse(sys.argv[1:], prog=sys.argv[0])
        found, source = run(request)
    except (ValueError, OSError) as error:
        print(f"dec2vec compare: {error}", file=sys.stderr)
        sys.exit(2)
    from methods.cli.comparison_text import export_comparison, format_comparison

    print("\n".join(format_comparison(found, source)))
    if request.out is not None:
        request.out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(export_comparison(found), indent=2, ensure_ascii=False)
        request.out.write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if found.agrees else 1)


def parse(arguments: list[str], *, prog: str = "dec2vec compare") -> Request:
    """Read the command line. Raises ValueError for what is no encoder and no option."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", metavar="A B key=value")
    parser.add_argument("--config-dir", help="a folder with more method/*.yaml")
    options = parser.parse_intermixed_args(arguments)
    encoders = [word for word in options.words if word.partition("=")[0] not in KEYS]
    if len(encoders) < 2:
        raise ValueError(
            f"{len(encoders)} encoders are given; give two: dec2vec compare A B. dec2vec compare "
            f"--help shows what they may be"
        )
    a, b, *others = encoders
    request = Request(a, b, config_dir=options.config_dir)
    given = [word for word in options.words if word.partition("=")[0] in KEYS]
    for word in [*given, *others]:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(
                f"{word!r} is a third encoder, and two are compared; an encoder and its options "
                f'are one word, in quotes: "sgpt pooling=mean"'
            )
        _set_option(request, key, value)
    return request


def _set_option(request: Request, key: str, value: str) -> None:
    if key in request.shared:
        raise ValueError(f"{key} is given twice")
    if key == "limit":
        if not value.isdecimal() or int(value) < 1:
            raise ValueError(f"limit={value}; it is a number of texts, 1 or more")
        request.limit = int(value)
    elif key == "side":
        if value not in SIDES:
            raise ValueError(f"side={value} is unknown; valid: {', '.join(SIDES)}")
        request.side = None if value == "none" else value
    elif key == "texts":
        request.texts = parse_value(key, value) if value.startswith("[") else value
        if isinstance(request.texts, list):
            request.texts = ["" if text is None else str(text) for text in request.texts]
    elif key == "out":
        request.out = Path(value)
    elif key in KEYS:
        setattr(request, key, value)
    else:
        request.shared[key] = parse_value(key, value)


def run(request: Request) -> tuple[Any, str]:
    """Trace both encoders, one after the other, and compare them; return where the texts are from.

    Raises ValueError for an encoder that cannot be loaded.
    """
    from methods.cli.sides import SHARED, parse_side, trace_side
    from methods.interop.compare import compare_stages
    from methods.interop.texts import choose_texts

    words = (request.a, request.b)
    a, b = (parse_side(word, request.shared, config_dir=request.config_dir) for word in words)
    kinds = {side.kind for side in (a, b)}
    valid = () if kinds == {"vectors"} else SHARED
    if "method" not in kinds and (unused := sorted(request.shared.keys() - set(valid))):
        raise ValueError(
            f"{unused[0]}= is no option of both encoders; valid: {', '.join([*KEYS, *valid])}; "
            f"options of one stand in its own word"
        )
    if kinds == {"vectors"} and request.texts is None:
        texts, source = _number_rows(a, b, request.limit), "rows"
    else:
        texts, source = choose_texts(request.texts, column=request.column, limit=request.limit)
    how: Mapping[str, Any] = {"prompt_type": request.side, "instruction": request.instruction}
    traced = []
    for side in (a, b):
        try:
            traced.append(trace_side(side, texts, **how))
        except ValueError as error:
            where = "" if str(error).startswith(side.word) else f"{side.word}: "
            raise ValueError(f"{where}{error}") from error
    return compare_stages(*traced, texts=texts), source


def _number_rows(a: Any, b: Any, limit: int) -> list[str]:
    """Return names for the rows of two files of vectors, which say nothing of their texts."""
    from methods.interop.trace_vectors import read_vectors

    numbers = [len(read_vectors(Path(side.source).expanduser())) for side in (a, b)]
    if numbers[0] != numbers[1]:
        raise ValueError(
            f"{a.word} has {numbers[0]} vectors, {b.word} {numbers[1]}; both take the same texts "
            f"in the same order"
        )
    return [f"row {row}" for row in range(min(numbers[0], limit))]
