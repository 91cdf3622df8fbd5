"""The blocks of the READMEs that are made from records: `python -m tests.readmes` writes them anew.

A block is `<!-- SOURCE -->`, what the source makes, `<!-- -->`. A source is the path of a committed
table, whose rows are shown without the caption, or one of MADE_BY with files or folders of
runs/reference.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from analysis.agreement import measure_agreement
from analysis.comparison import compare
from analysis.origin import describe_origin
from analysis.records.results import load_results

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "runs" / "reference"
BLOCK = re.compile(r"<!-- (?P<source>\S[^\n]*?) -->\n\n(?P<text>.*?)\n\n<!-- -->", re.S)


def tabulate_agreement(full: str, small: str) -> str:
    """Return the table of what a small evaluation keeps of a larger one's order."""
    compared = (compare(load_results([REFERENCE / name])) for name in (full, small))
    return measure_agreement(*compared)[0].to_markdown(disable_numparse=True)


def describe_study(folder: str) -> str:
    """Return the line that says where a study's numbers come from."""
    return describe_origin(load_results([REFERENCE / folder]))


def summarize_parity(file: str) -> str:
    """Return the table of parity with a row for each method, and the line it ends with."""
    *lines, foot = (REFERENCE / file).read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "| `" in line]
    columns = ["method", "official code", "texts", "ids equal", "smallest cosine"]
    table = pd.DataFrame(cells).iloc[:, :5].set_axis(columns, axis="columns")
    table["method"] = table["method"].str.extract(r"`(\w+)`", expand=False)
    table["ids equal"] = table["ids equal"].str.split().str[0]
    whole = table.astype({"texts": int, "ids equal": int}).groupby("method", as_index=False)
    rules = {"official code": "first", "texts": "sum", "ids equal": "sum", "smallest cosine": "min"}
    shown = whole.agg(rules).rename(columns={"texts": "texts, all ways of use"})
    return f"{shown.to_markdown(index=False, disable_numparse=True)}\n\n{foot}"


MADE_BY = {
    "analysis.agreement": tabulate_agreement,
    "analysis.origin": describe_study,
    "tests.parity": summarize_parity,
}


def make_block(source: str) -> str:
    """Return what a block shows. Raises ValueError for a source that is none."""
    name, *folders = source.split()
    if name in MADE_BY:
        return MADE_BY[name](*folders)
    if not folders and (ROOT / name).is_file():
        return (ROOT / name).read_text(encoding="utf-8").split("\n\n")[0].strip()
    valid = ", ".join(f"{made} NAME" for made in MADE_BY)
    raise ValueError(f"{source!r} is no source of a block; valid: a committed table, {valid}")


def list_readmes() -> list[Path]:
    """Return every README of the repository."""
    others = {".venv", "build"}  # of packages that are installed there
    found = ROOT.rglob("README.md")
    return sorted(file for file in found if not others & {*file.relative_to(ROOT).parts})


def write_blocks(text: str) -> str:
    """Return a README's text with every block made anew."""

    def made(found: re.Match[str]) -> str:
        return f"<!-- {found['source']} -->\n\n{make_block(found['source'])}\n\n<!-- -->"

    return BLOCK.sub(made, text)


def main() -> None:
    """Write the blocks of every README anew."""
    for file in list_readmes():
        text = file.read_text(encoding="utf-8")
        if (made := write_blocks(text)) != text:
            file.write_text(made, encoding="utf-8")
            print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
