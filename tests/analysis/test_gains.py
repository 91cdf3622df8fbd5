"""What training gave, beside the same method untrained."""

import json

import pytest

from analysis.comparison import compare
from analysis.names import command
from analysis.results import load_results
from analysis.tables import gains_table
from tests.analysis.test_tables import cell, examples

TRAINED = {
    "title": "sgpt_nli_demo",
    "steps": 100,
    "seconds": 200.0,
    "learning_rate": 5e-4,
    "data": {"sources": {"pairs": {"rows": 10}}},
}


@pytest.fixture
def found(tmp_path):
    before = {"A": ("Classification", examples(200, 0.5)), "B": ("Clustering", 0.4)}
    after = {"A": ("Classification", examples(200, 0.8)), "B": ("Clustering", 0.3)}
    cell(tmp_path, "sgpt", before)
    cell(tmp_path, "echo", before)
    below = {"title": "mntp", "seconds": 50.0}
    chain = {"adapters": ["x/mntp", "x/nli"], "training": [below, TRAINED]}
    folder = cell(tmp_path, "sgpt", after)
    file = folder / "record" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | chain | {"digest": "1"}))
    return compare(load_results([tmp_path]))


def test_a_row_trained_stands_beside_the_same_row_untrained(found):
    table = gains_table(found)
    row = table.values.iloc[0]
    assert list(table.values.index) == [("sgpt", "(mntp+nli)")]
    assert (row["A zero-shot"], row["A trained"]) == pytest.approx((50, 80))
    assert (row["steps"], row["seconds"], row["learning rate"]) == (100, 250, 5e-4)
    assert "Data: sgpt (mntp+nli): pairs." in table.caption
    printed = table.to_markdown()
    assert "80.0 (+30.0 [" in printed and "])*" in printed and "30.0 (-10.0)" in printed


def test_an_interval_is_of_the_difference_and_none_is_made_up(found):
    behind = gains_table(found).after.iloc[0]
    low, high = behind["A trained"].split("[")[1].split("]")[0].split(", ")
    assert 20 < float(low) < 30 < float(high) < 40
    assert "[" not in behind["B trained"] and "[" not in behind["Average trained"]


def test_nothing_trained_is_no_table(tmp_path):
    cell(tmp_path, "sgpt", {"A": ("Classification", 0.5)})
    assert gains_table(compare(load_results([tmp_path]))) is None


def test_commands_keep_their_verb():
    import pandas as pd

    lines = [f"dec2vec train experiment=fair method={name}" for name in ("echo", "sgpt")]
    assert command(pd.DataFrame({"command": lines})) == (
        "dec2vec train -m experiment=fair method=echo,sgpt"
    )
    mixed = pd.DataFrame({"command": [lines[0], "dec2vec evaluate method=echo"]})
    assert command(mixed).endswith("(and 1 more)")
