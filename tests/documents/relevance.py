"""Measure how often `ask` takes real questions for answerable, and write the table.

    python -m tests.documents.relevance --perl DIR --python DIR --mirror DIR

--perl: perlfaq[1-9].pod (Debian's perl-doc). --python: the FAQ's sources (python3.11-doc,
html/_sources/faq). --mirror: mteb's data, for Banking77. Indexed are this repository's READMEs, and
the answers of Python's FAQ without their questions.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pandas as pd

from methods import load_encoder
from methods.documents.build import build_index
from methods.documents.index import Index
from methods.documents.reading import read_passages
from methods.documents.search import search
from methods.folders import ROOT
from methods.provenance import find_commit, find_processor

OUT = ROOT / "runs" / "reference" / "relevance.md"
ANSWERED = """Which pooling methods are there?|How do I add my own method?|How do I run the demo?
Where are the embeddings cached?|How do I export a method to sentence-transformers?
Does it need a GPU?|How do I resume an interrupted run?|What does the probe verify?
How do I evaluate on my own data?|How many texts was parity checked on?
How do I train with my own pairs?|Which licence does it have?|How are confidence intervals computed?
How do I encode a large file?|Which models can be loaded?|How do I make int8 vectors?
How do I compare two encoders?|What does an adapter folder hold?
How is the cost of an evaluation estimated?|Can I use Slurm?"""
NEAR = """How do I fine-tune a vision transformer?|What is the weather in Berlin tomorrow?
How do I deploy it to Kubernetes?|Who won the election?|Can it transcribe speech?
How do I generate images from a prompt?|What does a subscription cost?|How do I reset my password?
Is there an Android app?|How do I install a printer driver?"""


def split_questions(text: str) -> list[str]:
    """Return the questions of a text, divided by bars and line breaks."""
    return text.replace("\n", "|").split("|")


def list_questions(folder: Path, include: str | None) -> list[str]:
    """Return every second heading of some documents that is a question."""
    passages = read_passages(folder, include=include).passages
    found = dict.fromkeys(h for one in passages for h in one.section if h.endswith("?"))
    return list(found)[::2]


def write_answers(folder: Path, target: Path) -> None:
    """Write the sections below questions as files of text alone."""
    for number, one in enumerate(read_passages(folder).passages):
        if any(heading.endswith("?") for heading in one.section):
            (target / f"{number:04}.txt").write_text(one.text, encoding="utf-8")


def count_relevant(index: Index, questions: Sequence[str]) -> str:
    """Return how many questions find a passage at or above the threshold."""
    found = sum(bool(search(index, question).relevant) for question in questions)
    return f"{found} of {len(questions)}"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.documents.relevance")
    for name in ("perl", "python", "mirror"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    encoder = load_encoder("sentence_encoder", dtype="float32")
    bank = pd.read_parquet(given.mirror / "banking77" / "data" / "test.parquet")["text"]
    kinds = {
        "answered in the READMEs, ours": split_questions(ANSWERED),
        "answered in Python's FAQ, its own": list_questions(given.python, None),
        "of another field: customers of a bank (Banking77)": list(bank[:3000:60]),
        "of a neighbouring field: Perl's FAQ": list_questions(given.perl, "perlfaq[1-9].pod"),
        "written to sound near the READMEs": split_questions(NEAR),
    }
    with tempfile.TemporaryDirectory() as place:
        readmes, answers = Path(place, "readmes"), Path(place, "answers")
        for folder in (readmes, answers):
            folder.mkdir()
        for number, file in enumerate(sorted(ROOT.glob("*/**/README.md"))):
            if file.parent.name != "documents" and ".venv" not in file.parts:
                (readmes / f"{number}.md").write_text(file.read_text("utf-8"), "utf-8")
        (readmes / "top.md").write_text((ROOT / "README.md").read_text("utf-8"), "utf-8")
        write_answers(given.python, answers)
        rows = {name: {"questions": name} for name in kinds}
        for title, folder in {"READMEs": readmes, "Python's FAQ": answers}.items():
            index = build_index(folder, Path(place, f"{folder.name}-index"), encoder=encoder)
            assert index.relevance is not None
            column = f"{title} (threshold {index.relevance.threshold:.3f})"
            for name, questions in kinds.items():
                rows[name][column] = count_relevant(index, questions)
    table = pd.DataFrame(rows.values()).to_markdown(index=False, disable_numparse=True)
    about = (
        f"`python -m tests.documents.relevance`, {date.today()}, commit {find_commit()['commit']}"
    )
    note = (
        f"{about}, all-MiniLM-L6-v2, float32, {find_processor()}. Counted are questions that find a"
    )
    OUT.write_text(f"{table}\n\n{note} passage at or above the index's threshold.\n", "utf-8")
    print(OUT.read_text("utf-8"))


if __name__ == "__main__":
    main()
