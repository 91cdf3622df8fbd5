"""What a method is expected to read, from tests/methods/expected/METHOD.yaml; echo.yaml explains.

The tokenizer is one token a byte, so that ids can be read as text.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from methods.backbone.tiny import make_byte_tokenizer
from methods.config.resolve import build_method, compose, list_choices
from methods.fields import build

FOLDER = Path(__file__).parent / "expected"
INSTRUCTION = "Find it."


@dataclass(frozen=True, kw_only=True)
class Read:
    """One text, on one side (none: symmetric), and what is read of it; `|` marks what is pooled.

    expected: of each of its rows, where a text has several.
    """

    text: str
    expected: str | list[str]
    side: str | None = None
    instruction: str | None = INSTRUCTION
    overrides: dict[str, Any] = field(default_factory=dict)
    model: str = "tiny/random"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What rows end with, by fields of the method."""

    ends_with: Literal["eos", "tokenizer", "nothing"]
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A file of the folder; echo.yaml says what its keys mean."""

    sides: dict[str, Literal["same", "differ"]]
    longest: dict[str, int]
    refused: list[Literal["query", "document"]]
    endings: list[dict[str, Any]]
    reads: list[dict[str, Any]]
    fields: dict[str, Any] = field(default_factory=dict)
    size: int = 32


def expected(method: str) -> Expected:
    """Return what a method is expected to do. Fails, saying what to write, where no file does."""
    file = FOLDER / f"{method}.yaml"
    assert file.is_file(), f"write {file.relative_to(FOLDER.parents[2])}; copy echo.yaml"
    return build(Expected, yaml.safe_load(file.read_text(encoding="utf-8")), key=file.name)


def every_read() -> list[tuple[str, Read]]:
    """Return every text that a file of the folder spells out, with its method."""
    return [
        (name, build(Read, read, key=name)) for name in _named() for read in expected(name).reads
    ]


def every_ending() -> list[tuple[str, Ending]]:
    """Return every ending that a file of the folder names, with its method."""
    return [
        (name, build(Ending, one, key=name)) for name in _named() for one in expected(name).endings
    ]


def _named() -> list[str]:
    return [name for name in list_choices("method") if (FOLDER / f"{name}.yaml").is_file()]


def shown(method: str, read: Read) -> str | list[str]:
    """Return what a method reads, as text, with bars around what it pools; of each row, where a
    text has several."""
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in read.overrides.items()}
    tokenizer = make_byte_tokenizer()
    tokenizer.name_or_path = read.model
    inputs = build_method(compose([f"method={method}"]).method, **fields).prepare_inputs(
        [read.text], tokenizer=tokenizer, prompt_type=read.side, instruction=read.instruction
    )
    pairs = zip(inputs.ids, inputs.pool_mask, strict=True)
    found = [_mark_pooled(tokenizer, *pair) for pair in pairs]
    return found[0] if len(found) == 1 else found


def _mark_pooled(tokenizer: Any, ids: list[int], mask: list[bool]) -> str:
    first = mask.index(True)
    end = len(mask) - mask[::-1].index(True)
    assert all(mask[first:end])
    parts = [tokenizer.decode(part) for part in (ids[:first], ids[first:end], ids[end:])]
    return f"{parts[0]}|{parts[1]}|{parts[2]}"
