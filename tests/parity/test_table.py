"""The committed table of parity: its form, and that it says of every group what the tests check."""

import re
from pathlib import Path

from methods.config.resolve import list_choices
from tests.parity.compare import HEADER, groups, methods, official, row_name
from tests.parity.texts import ODD, texts

TABLE = Path(__file__).parents[2] / "runs" / "reference" / "parity.md"
LINES = TABLE.read_text(encoding="utf-8").splitlines()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in LINES
    if line.startswith("| `")
]


def test_every_group_has_its_row_with_its_code_and_note():
    assert HEADER in LINES
    stated = [(name, code, note) for name, code, _, _, _, _, note in ROWS]
    assert stated == [(row_name(m, g), official(m).CODE, g.note) for m, g in groups()]
    assert set(methods()) <= set(list_choices("method"))


def test_all_ids_and_vectors_are_equal():
    assert len(ROWS) >= 19
    for name, _, number, equal, cosine, difference, _ in ROWS:
        assert int(number) >= 99 and equal == f"{number} of {number}", name
        assert float(cosine) >= 0.99999 and float(difference) < 1e-3, name


def test_the_foot_says_what_the_table_was_made_with():
    parts = (
        r"`python -m tests\.parity`",
        r"\d{4}-\d\d-\d\d",
        r"commit [0-9a-f]{12}",
        "smollm2_135m",
    )
    parts += ("float32", ".+", r"torch \S+", r"transformers \S+", r"\d+ CPU seconds\.")
    assert re.fullmatch(", ".join(parts), LINES[-1])


def test_the_texts_are_a_hundred_different_ones():
    found = texts()
    assert len(set(found)) == len(found) >= 100 and found == texts()
    assert set(ODD) < set(found) and "" in found and max(map(len, found)) > 2000
