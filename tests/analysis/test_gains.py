"""What training gave, beside the same method untrained."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from analysis.caption import join_commands
from analysis.comparison import compare
from analysis.records.results import load_results
from tests.analysis.cells import cell, examples, maybe_tabulate, tabulate

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
    below = {"title": "mntp", "seconds": 50.0, "folder": "0_mntp"}
    chain = {"adapters": ["x/nli"], "training": [below, TRAINED | {"folder": "nli"}]}
    folder = cell(tmp_path, "sgpt", after)
    file = folder / "record" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | chain | {"digest": "1"}))
    return compare(load_results([tmp_path]))


def test_a_row_trained_stands_beside_the_same_row_untrained(found):
    table = tabulate("gains", found)
    row = table.values.iloc[0]
    assert list(table.values.index) == [("sgpt", "(mntp+nli)")]
    assert (row["A zero-shot"], row["A trained"]) == pytest.approx((50, 80))
    assert (row["steps"], row["seconds"], row["learning rate"]) == (100, 250, 5e-4)
    assert "Data: pairs." in table.caption and "zero-shot; in parentheses" in table.caption
    printed = table.to_markdown()
    assert "80.0 (+30.0 [" in printed and "])*" in printed and "30.0 (-10.0)" in printed


def test_an_interval_is_of_the_difference_and_none_is_made_up(found):
    behind = tabulate("gains", found).notes.iloc[0]
    low, high = behind["A trained"].split("[")[1].split("]")[0].split(", ")
    assert 20 < float(low) < 30 < float(high) < 40
    assert "[" not in behind["B trained"] and "[" not in behind["Average trained"]


def test_a_row_is_called_by_its_recipe_and_by_a_digest_only_where_that_is_not_enough(tmp_path):
    for name, digest in (("nli_0a1b2c3d", "1"), ("nli_9f8e7d6c", "2"), ("mntp_0a1b2c3d", "3")):
        folder = cell(tmp_path, "sgpt", {"A": ("Classification", 0.5)})
        file = folder / "record" / "run.json"
        record = json.loads(file.read_text())
        file.write_text(json.dumps(record | {"adapters": [f"x/{name}"], "digest": digest}))
    names = sorted(compare(load_results([tmp_path])).names.values())
    assert names == ["sgpt (mntp)", "sgpt (nli, digest 1)", "sgpt (nli, digest 2)"]


def test_what_nobody_scored_before_training_has_no_column(tmp_path):
    trained(tmp_path, "sgpt", {"A": ("Classification", 0.5)})
    table = tabulate("gains", compare(load_results([tmp_path])))
    assert "A trained" in table.values and "A zero-shot" not in table.values
    assert "zero-shot" not in table.caption


def test_data_that_few_rows_were_trained_on_is_named_with_them(tmp_path):
    trained(tmp_path, "sgpt", {"A": ("Classification", 0.5)})
    trained(tmp_path, "echo", {"A": ("Classification", 0.5)})
    folder = trained(tmp_path, "llm2vec", {"A": ("Classification", 0.5)}, source="wikipedia")
    caption = tabulate("gains", compare(load_results([tmp_path]))).caption
    assert f"Data: pairs; wikipedia in llm2vec ({folder.name})." in caption


def test_nothing_trained_is_no_table(tmp_path):
    cell(tmp_path, "sgpt", {"A": ("Classification", 0.5)})
    assert maybe_tabulate("gains", compare(load_results([tmp_path]))) is None


def trained(root, method, scores, source="pairs", **changes):
    """A cell as one with an adapter leaves it."""
    folder = cell(root, method, scores)
    file = folder / "record" / "run.json"
    record = json.loads(file.read_text()) | changes
    training = TRAINED | {"pooler": changes.get("pooler"), "data": {"sources": {source: {}}}}
    record |= {"adapters": [f"x/{folder.name}"], "training": [training], "digest": folder.name}
    file.write_text(json.dumps(record))
    return folder


def test_genres_stand_apart_with_what_training_gave_each(tmp_path):
    draw = np.random.default_rng(1)
    gold = draw.random(80)
    genre = ["main-news"] * 40 + ["main-captions"] * 40
    noisy = gold + np.where(np.arange(80) < 40, 0.01, 3) * draw.standard_normal(80)
    for make, value in ((cell, draw.random(80)), (trained, noisy)):
        folder = make(tmp_path, "sgpt", {"STSBenchmark": ("STS", 0.5)})
        kept = {"split": "test", "subset": "default", "example": range(80), "value": value}
        frame = pd.DataFrame(kept | {"gold": gold, "genre": genre})
        if make is cell:
            frame = frame.drop(columns="genre")  # as records were before
        frame.to_csv(folder / "record" / "examples" / "STSBenchmark.csv.gz", index=False)
    table = tabulate("genres", compare(load_results([tmp_path])))
    assert list(table.values) == ["captions (40)", "news (40)"]
    assert table.values.iloc[0, 1] == pytest.approx(100 * spearmanr(gold[:40], noisy[:40])[0])
    assert table.notes.iloc[0, 1].endswith("*") and not table.notes.iloc[0, 0].endswith("*")


def test_poolings_stand_by_attention_against_the_last_causal_token(tmp_path):
    def scores(share):
        return {"A": ("Classification", examples(200, share))}

    trained(tmp_path, "cpt_text", scores(0.5))
    trained(tmp_path, "cpt_text", scores(0.9), pooling="mean", attention="bidirectional")
    trained(tmp_path, "cpt_text", scores(0.7), pooler="multi_layer")
    table = tabulate("pooling_and_attention", compare(load_results([tmp_path])))
    rows = ["cpt_text: last", "cpt_text: mean", "cpt_text: multi_layer over last"]
    assert list(table.values.index) == rows
    assert table.notes.loc[rows[0], "causal"] == " (=)"
    assert table.values.loc[rows[1], "bidirectional"] == pytest.approx(90)
    assert table.notes.loc[rows[1], "bidirectional"].startswith(" (+40.0 [")
    assert table.notes.loc[rows[1], "bidirectional"].endswith("*")
    assert "–" in table.to_markdown()


def test_an_attention_of_a_users_own_is_a_column_after_the_known_ones(tmp_path):
    scores = {"A": ("STS", 0.5)}
    trained(tmp_path, "cpt_text", scores)
    trained(tmp_path, "cpt_text", scores, pooler="multi_layer", attention="blocks")
    trained(tmp_path, "cpt_text", scores, pooling="max", attention="bidirectional")
    table = tabulate("pooling_and_attention", compare(load_results([tmp_path])))
    assert list(table.values) == ["causal", "bidirectional", "blocks"]
    assert "cpt_text: max" in table.values.index


def test_commands_keep_their_verb():
    lines = [f"dec2vec train experiment=fair method={name}" for name in ("echo", "sgpt")]
    assert join_commands(pd.DataFrame({"command": lines})) == (
        "dec2vec train -m experiment=fair method=echo,sgpt"
    )
    mixed = pd.DataFrame({"command": [lines[0], "dec2vec evaluate method=echo"]})
    assert join_commands(mixed).endswith("(and 1 more)")


def test_an_option_and_its_value_stay_two_words():
    lines = [f"dec2vec evaluate --config-dir 'my dir' method={name} tasks=own" for name in "ab"]
    assert join_commands(pd.DataFrame({"command": lines})) == (
        "dec2vec evaluate -m --config-dir 'my dir' method=a,b tasks=own"
    )
