"""Write what `dec2vec synthesize` made of its prompts as a table, with the first examples.

    python -m tests.documents.synthesis_table FOLDER ...

FOLDER: what dec2vec synthesize wrote. Examples are the first ones, unchosen: ten of a folder's
questions, one of each group that is made from nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from methods.folders import ROOT
from methods.records import read_json, write_atomically

OUT = ROOT / "runs" / "reference" / "synthesis.md"
QUESTIONS, CHARACTERS = 10, 160


def tabulate_yield(record: dict[str, Any]) -> str:
    """Return prompts x outcomes of a record."""
    rows = {
        name: {"prompts": own["of"], "usable": own["usable"], **own["rejects"]}
        for name, own in record["yield"].items()
    }
    frame = pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype(int)
    return frame.rename_axis("prompt").to_markdown()


def list_examples(folder: Path) -> Iterator[str]:
    """Yield the first pairs of a folder, a line each."""
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    for kind in dict.fromkeys(pair["kind"] for pair in pairs):
        number = QUESTIONS if kind == "question" else 1
        for pair in [pair for pair in pairs if pair["kind"] == kind][:number]:
            parts = [f"* {kind}: {_shorten(pair['query'])}", _shorten(pair["positive"])]
            if pair.get("instruction"):
                parts.insert(1, f"({_shorten(pair['instruction'])})")
            yield " → ".join(parts)


def _shorten(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= CHARACTERS else f"{flat[:CHARACTERS]}…"


def describe(folder: Path) -> str:
    """Return a folder's part of the page."""
    record = read_json(folder / "record.json")
    made = record["generated"]
    about = (
        f"`{record['command']}`, {record['date'][:10]}, commit {record['commit']}, "
        f"{record['processor']}; {made['answers']} answers, {made['tokens']:,} tokens in "
        f"{made['seconds']:,.0f} s ({made['tokens'] / made['seconds']:.1f} tokens/s)."
    )
    return "\n".join([tabulate_yield(record), "", about, "", *list_examples(folder)])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.documents.synthesis_table")
    parser.add_argument("folders", nargs="+", type=Path)
    parts = [describe(folder) for folder in parser.parse_args().folders]
    write_atomically(OUT, "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
