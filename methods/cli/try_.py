"""`dec2vec try "query" "text" "text" ...`: how similar each method finds a few texts, in seconds.

    dec2vec try "a cat sleeps" "a kitten naps" "the stock market fell"
    dec2vec try "a cat sleeps" "a kitten naps" "a dog barks" method=echo,sgpt layer=8
    dec2vec try "one" "two" "three" method=echo            # one method: every text with every other

The first text is the query. A row is a method, a column the cosine similarity of the query with one
text, x 100; * marks the text a method finds nearest. key=value sets: method (a name or several,
separated by commas; default: all), model (as in load_encoder), adapter, cache, instruction, or a
field of the method or the model (pooling=mean layer=8 dtype=float32). After -- everything is text.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import time
import unicodedata
from dataclasses import dataclass, field
from typing import Any

import numpy as np

BASELINE = "sentence_encoder"  # trained to embed, on a model of its own
INSTRUCTION = "Retrieve semantically similar text."  # mteb's for its STS tasks
OPTIONS = ("model", "adapter", "cache", "config_dir")  # load_encoder's, beside fields
WIDTH = 72  # columns of a text in the legend


@dataclass
class Request:
    """What the command line asks for. methods: empty for all. keys: everything else, by key."""

    texts: list[str]
    methods: list[str]
    instruction: str
    matrix: bool
    keys: dict[str, Any] = field(default_factory=dict)


@dataclass
class Row:
    """What one method found. to_query: [N-1]; matrix: [N, N], if asked for; both cosines."""

    model: str
    uses_instructions: bool
    to_query: np.ndarray
    matrix: np.ndarray | None


def main() -> None:
    """Run the verb."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("methods.backbone.sources").setLevel(logging.INFO)  # what is being fetched
    logging.getLogger("transformers").setLevel(logging.ERROR)
    sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        request = parse(sys.argv[1:], prog=sys.argv[0])
        start = time.perf_counter()
        rows, left_out = compare(request)
    except (ValueError, OSError) as error:
        sys.exit(f"dec2vec try: {error}")
    print("\n".join(format_output(request, rows)))
    for name, reason in left_out.items():
        print(f"\n{name} is not shown: {reason}")
    print(f"\n{len(rows)} methods, {len(request.texts)} texts, {time.perf_counter() - start:.1f} s")


def parse(arguments: list[str], *, prog: str = "dec2vec try") -> Request:
    """Read the command line. Raises ValueError for fewer than two texts and unknown options."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", metavar="TEXT or key=value")
    parser.add_argument(
        "--matrix", action="store_true", help="also every text with every other, method by method"
    )
    parser.add_argument("--config-dir", help="a folder with more method/*.yaml")
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, unknown = parser.parse_known_intermixed_args(arguments[:end])
    if unknown:
        raise ValueError(
            f"there is no option {unknown[0]!r}; valid: --matrix, --config-dir DIR, --help. A text "
            f"that begins with a dash goes after --, as in: dec2vec try -- '-1' 'minus one'"
        )
    keys: dict[str, Any] = {}
    texts: list[str] = []
    for word in options.words:
        key, equals, value = word.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][\w.]*", key):
            texts.append(word)
            continue
        key = key.removeprefix("model.").removeprefix("method.")
        if key in keys:
            raise ValueError(f"{key} is given twice; give one value, several methods as method=A,B")
        keys[key] = parse_value(key, value)
    texts += arguments[end + 1 :]
    if len(texts) < 2:
        raise ValueError(
            f"{len(texts)} texts are too few; give a query and at least one text to compare it "
            f'with: dec2vec try "query" "text" "text". A text such as a=b goes after --'
        )
    if options.config_dir is not None:
        keys["config_dir"] = options.config_dir
    methods = [name.strip() for name in keys.pop("method", "").strip("[]").split(",")]
    instruction = keys.pop("instruction", INSTRUCTION)
    return Request(texts, [name for name in methods if name], instruction, options.matrix, keys)


def compare(request: Request) -> tuple[dict[str, Row], dict[str, str]]:
    """Encode the texts under every method: rows, and why some of all methods have none.

    Raises ValueError for what no decoder can do, and for what a method asked for by name cannot.
    """
    from methods.config.resolve import list_choices
    from methods.tokens import check_texts

    request.texts = check_texts(request.texts)
    named = request.methods
    names = named or list_choices("method", config_dir=request.keys.get("config_dir"))
    rows: dict[str, Row] = {}
    left_out: dict[str, str] = {}
    for name in sorted(dict.fromkeys(names), key=lambda name: name == BASELINE):  # one model a time
        try:
            rows[name] = _measure_row(request, name)
        except (ValueError, OSError) as error:
            left_out[name] = str(error)
            if named:
                break
    if left_out and (named or not set(rows) - {BASELINE}):
        keys = [key for key in request.keys if key not in OPTIONS]
        advice = " (a text that contains = goes after --)" if keys else ""
        raise ValueError(next(iter(left_out.values())) + advice)
    return rows, left_out


def _measure_row(request: Request, name: str) -> Row:
    from methods import load_encoder

    keys = request.keys
    if name == BASELINE and request.methods != [BASELINE]:  # it has a model and settings of its own
        keys = {key: keys[key] for key in ("cache", "config_dir") if key in keys}
    encoder = load_encoder(name, **keys)
    instruction = request.instruction if encoder.method.uses_instructions else None
    query = encoder.encode(request.texts[:1], prompt_type="query", instruction=instruction)
    others = encoder.encode(request.texts[1:], prompt_type="document", instruction=instruction)
    matrix = None
    if request.matrix or len(request.methods) == 1:
        alike = encoder.encode(request.texts, instruction=instruction)
        matrix = _compute_cosines(alike, alike)
    model = f"{encoder.backbone.identity['name']} ({encoder.backbone.identity['dtype']})"
    return Row(model, encoder.method.uses_instructions, _compute_cosines(query, others)[0], matrix)


def format_output(request: Request, rows: dict[str, Row]) -> list[str]:
    """Return what is printed: the texts, the table of methods, and the matrices."""
    printed = [f"query: {_shorten(request.texts[0])}"]
    printed += [f"{at:5}: {_shorten(text)}" for at, text in enumerate(request.texts[1:], 1)]
    printed += [
        "",
        "Cosine x 100 of the query with each text; * is a method's nearest. Compare within",
    ]
    printed += ["a row: methods differ in scale."]
    table = {name: row.to_query for name, row in rows.items()}
    printed += [
        "",
        *_format_table(table, [str(at + 1) for at in range(len(request.texts) - 1)], mark=True),
    ]
    names = ["query", *(str(at) for at in range(1, len(request.texts)))]
    for name, row in rows.items():
        if row.matrix is not None:
            printed += ["", f"{name}: all texts with each other, encoded as symmetric texts"]
            printed += _format_table(dict(zip(names, row.matrix, strict=True)), names)
    printed.append("")
    models = dict.fromkeys(row.model for row in rows.values())
    for model in models:
        on = [name for name, row in rows.items() if row.model == model]
        printed.append(f"on {model}" + (f": {', '.join(on)}" if len(models) > 1 else ""))
    if fields := {k: v for k, v in request.keys.items() if k not in OPTIONS}:
        given = " ".join(f"{key}={value}" for key, value in fields.items())
        printed.append(f"with {given}" + f", {BASELINE} as it is" * (set(rows) > {BASELINE}))
    if instructed := [name for name, row in rows.items() if row.uses_instructions]:
        printed.append(
            f"instruction of {', '.join(instructed)}: {request.instruction!r} (instruction=...)"
        )
    return printed


def _format_table(
    rows: dict[str, np.ndarray], columns: list[str], *, mark: bool = False
) -> list[str]:
    label = max(map(len, rows))
    printed = [" " * label + "".join(f"{name:>9} " for name in columns)]
    for name, values in rows.items():
        best = np.nanmax(values) if mark and np.isfinite(values).any() else np.inf
        cells = [
            ("–" if np.isnan(x) else f"{100 * x:.1f}").rjust(9) + ("*" if x >= best - 1e-6 else " ")
            for x in values
        ]
        printed.append(name.ljust(label) + "".join(cells))
    return [line.rstrip() for line in printed]


def _compute_cosines(one_ND: np.ndarray, other_MD: np.ndarray) -> np.ndarray:
    """Return cosine similarities [N, M]; NaN for a vector of zeros."""
    with np.errstate(invalid="ignore"):
        one, other = (
            v / np.linalg.norm(v, axis=1, keepdims=True)
            for v in (one_ND.astype(np.float64), other_MD.astype(np.float64))
        )
    return one @ other.T


def _shorten(text: str) -> str:
    """Return a text in one line of at most WIDTH columns; East Asian characters take two."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))
    width = 0
    for at, character in enumerate(line):
        if not unicodedata.combining(character):
            width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if width > WIDTH:
            return line[:at] + "…"
    return line or "(an empty text)"


def parse_value(key: str, value: str) -> Any:
    """Parse a value as a config does; texts, names and folders stay as they are typed."""
    if key in ("method", "model", "instruction"):
        return value
    if key == "cache":
        return None if value in ("null", "None") else value
    if key == "adapter":
        folders = [folder.strip() for folder in value.strip("[]").split(",")]
        return folders if value.startswith("[") else value
    from omegaconf import OmegaConf
    from yaml import YAMLError

    try:
        parsed: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]))
    except (ValueError, YAMLError):  # a string that means something in YAML
        return value
    return value if isinstance(parsed["value"], dict) else parsed["value"]
