"""Tables of records against golden files and worked values; one task failed, one is missing."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from analysis.baselines import find_default
from analysis.comparison import compare
from analysis.records.consistency import find_inconsistencies
from analysis.records.results import keep_tasks, load_results
from tests.analysis.cells import cell, draw, examples, maybe_tabulate, tabulate

GOLDEN = Path(__file__).parents[1] / "fixtures" / "tables"


@pytest.fixture
def runs(tmp_path):
    cell(
        tmp_path,
        "echo",
        {
            "STS12": ("STS", 0.5),
            "STS13": ("STS", 0.625),
            "Banking77Classification": ("Classification", 0.7),
            "DemoLee": ("STS", 0.44, 0.05),
        },
    )
    cell(
        tmp_path,
        "sgpt",
        {
            "STS12": ("STS", 0.55),
            "STS13": ("STS", "failed"),
            "Banking77Classification": ("Classification", 0.65),
            "DemoLee": ("STS", 0.5, 0.04),
        },
        options={"template": "brackets"},
    )
    cell(
        tmp_path,
        "baseline_100%",
        {
            "STS12": ("STS", 0.8),
            "STS13": ("STS", 0.9),
            "Banking77Classification": ("Classification", "missing"),
            "DemoLee": ("STS", 0.6, 0.04),
        },
        model="org/encoder",
    )
    return tmp_path


@pytest.mark.parametrize("form", ["md", "tex", "csv"])
@pytest.mark.parametrize("view", ["tasks", "types", "sts"])
def test_a_table_is_written_as_the_golden_file_has_it(runs, view, form, tmp_path):
    table = tabulate(view, compare(load_results([runs])))
    written = {file.suffix[1:]: file for file in table.write(tmp_path / "out")}[form]
    golden = GOLDEN / written.name
    if not golden.exists():  # a new golden is written once, to be read and committed
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(written.read_text())
        pytest.fail(f"{golden} did not exist; look at it and run again")
    assert written.read_text() == golden.read_text()


def test_an_average_over_a_missing_score_is_withheld(runs):
    values = tabulate("types", compare(load_results([runs]))).values
    by_method = values.droplevel("setting")
    assert pd.isna(by_method.loc["sgpt", "STS"]) and pd.isna(by_method.loc["sgpt", "Average"])
    assert by_method.loc["echo", "STS"] == pytest.approx(56.25)
    assert pd.isna(by_method.loc["baseline_100%", "Average"])


def test_a_score_with_an_error_is_printed_with_it_and_not_ranked(runs):
    table = tabulate("tasks", compare(load_results([runs])))
    rows = [row.split("|") for row in table.to_markdown().splitlines()[:5]]
    column = next(i for i, name in enumerate(rows[0]) if "DemoLee" in name)
    lee = [row[column] for row in rows]
    assert "60.0 ± 4.0" in lee[2] and "**" not in "".join(lee)


def test_rows_that_are_not_comparable_are_reported_and_stay_apart(tmp_path):
    for runs, dtype in (("one", "bfloat16"), ("two", "bfloat16"), ("two", "float32")):
        cell(tmp_path / runs, "echo", {"STS12": ("STS", 0.5)}, dtype=dtype)
    entry = {"data": "other", "code": "edited"}
    cell(tmp_path / "two", "sgpt", {"STS12": ("STS", 0.4)}, entry=entry)
    cell(tmp_path / "two", "sgpt", {"STS13": ("STS", 0.4)}, entry={"code": "c"})
    frame = load_results([tmp_path / "one", tmp_path / "two"])
    warnings = find_inconsistencies(frame)
    assert "dtypes are mixed: 4 scores in bfloat16, 1 scores in float32" in warnings
    assert "STS12 was scored on 2 different sets of data" in warnings
    assert any("sgpt on org/small was run with 2 versions of its code" in line for line in warnings)
    assert any("echo" in line and "appears 2 times, in one, two" in line for line in warnings)
    printed = tabulate("tasks", compare(frame)).to_markdown()
    for row in ("echo (bfloat16, in one)", "echo (bfloat16, in two)", "echo (float32)"):
        assert row in printed


def test_tasks_can_be_chosen_and_unknown_ones_are_told(runs):
    frame = load_results([runs])
    assert set(keep_tasks(frame, ["STS12"])["task"]) == {"STS12"}
    with pytest.raises(ValueError, match="no record of STS99; there are: Banking77Classification"):
        keep_tasks(frame, ["STS99"])


def test_an_average_over_the_common_tasks_says_which(runs):
    found = compare(load_results([runs]), common=True)
    assert list(found.scores) == ["STS12", "DemoLee"]
    table = tabulate("types", found)
    assert table.values["STS"].notna().all()
    assert "Over the 2 tasks that all rows have: STS12, DemoLee." in table.caption


def test_a_task_scored_on_two_splits_is_shown_on_its_test_split(runs):
    frame = load_results([runs])
    extra = frame[frame["task"] == "STS12"].assign(split="validation", score=0.99)
    both = pd.concat([frame, extra], ignore_index=True)
    assert tabulate("tasks", compare(both)).to_csv() == tabulate("tasks", compare(frame)).to_csv()


def test_a_folder_without_records_is_told(tmp_path):
    with pytest.raises(ValueError, match="holds no records"):
        load_results([tmp_path])


def test_other_peoples_results_and_published_scores_are_rows_apart(runs, tmp_path):
    theirs = tmp_path / "theirs" / "org__big" / "1"
    theirs.mkdir(parents=True)
    (theirs / "model_meta.json").write_text(json.dumps({"name": "org/big", "revision": "1"}))
    scores = [{"hf_subset": "default", "main_score": 0.7}]
    result = {"task_name": "STS12", "dataset_revision": "r1", "scores": {"test": scores}}
    (theirs / "STS12.json").write_text(json.dumps(result))
    csv = tmp_path / "published.csv"
    csv.write_text(
        "model,task,task_type,split,hf_subset,main_score,dataset_revision\n"
        "org/best,STS12,STS,test,default,0.9,r2\norg/best,Other,STS,test,default,0.9,r2\n"
    )
    frame = load_results([runs / "results", tmp_path / "theirs"], published=csv)
    assert frame["source"].value_counts()[["mteb", "published"]].to_list() == [1, 1]
    assert frame.loc[frame["source"] == "mteb", "type"].item() == "STS"
    assert (
        "STS12: other people's scores are of revision r2 of the data, ours of r1"
        in find_inconsistencies(frame)
    )
    printed = tabulate("trained", compare(frame)).to_markdown()
    assert "other's big (mteb)" in printed and "70.0 |" in printed
    assert "other's best (published)" in printed and "90.0** ‡" in printed
    assert "zero-shot echo" in printed
    with pytest.raises(ValueError, match="no column main_score"):
        csv.write_text("model,task,task_type,split,hf_subset,dataset_revision\n")
        load_results([runs / "results"], published=csv)


def test_marks_and_differences_come_from_examples(tmp_path):
    for method, right in (("best", 0.8), ("close", 0.79), ("far", 0.5)):
        scores = {"A": ("Classification", examples(200, right)), "B": ("Clustering", right)}
        cell(tmp_path, method, scores)
    found = compare(load_results([tmp_path]))
    printed = tabulate("types", found).to_markdown().splitlines()
    assert "*79.0* †" in printed[3] and "50.0 |" in printed[4] and "†" in printed[-1]
    table = tabulate("differences", found)
    assert table.values.loc[("far", ""), "Classification"] == pytest.approx(-30)
    behind = table.notes["Classification"].to_dict()
    assert behind["far", ""].endswith("]*") and behind["best", ""] == ""
    assert not behind["close", ""].endswith("*")
    assert (table.notes["Clustering"] == "").all()
    assert "not tested: Clustering, Average" in table.caption
    other = tabulate("differences", found, base="far")
    assert other.values.loc[("best", ""), "Classification"] == pytest.approx(30)
    with pytest.raises(ValueError, match="no row is 'nobody'; the complete ones: best, close, far"):
        tabulate("differences", found, base="nobody")


def test_variants_stand_with_their_difference_to_the_default(tmp_path):
    for attention, pooling, right in (
        *(("causal", "last", 0.5), ("causal", "mean", 0.9)),
        ("bidirectional", "mean", 0.51),
    ):
        scores = {"A": ("Classification", examples(200, right))}
        cell(tmp_path, "echo", scores, attention=attention, pooling=pooling)
    cell(tmp_path, "echo", {"A": ("Classification", examples(200, 0.2))}, options={"template": "x"})
    found = compare(load_results([tmp_path]))
    printed = tabulate("attention_x_pooling", found).to_markdown()
    row = [c.strip() for c in printed.splitlines()[2].split("|")[1:-1]]
    margins = r"50.0 \(=\),90.0 \(\+40.0 ± \d.\d\*\),–,51.0 \(\+1.0 ± \d+.\d\)"
    assert row[0] == "echo" and re.fullmatch(margins, ",".join(row[1:])), row
    printed = tabulate("templates", found).to_markdown()
    assert (
        "20.0 (-30.0 ± " in printed and "*)" in printed and maybe_tabulate("layers", found) is None
    )


def test_a_pooling_and_an_attention_of_a_users_own_are_columns_after_the_known_ones(tmp_path):
    combinations = [("causal", "max"), ("causal", "last"), ("bidirectional", "first")]
    combinations += [("blocks", "weighted_mean"), ("causal", "weighted_mean")]
    for place, (attention, pooling) in enumerate(combinations):
        scores = {"A": ("STS", 0.5 + place / 100)}
        cell(tmp_path, "echo", scores, attention=attention, pooling=pooling)
    found = compare(load_results([tmp_path]))
    table = tabulate("attention_x_pooling", found)
    poolings = ["last", "weighted_mean", "first", "max"]
    attentions = ["causal", "bidirectional", "blocks"]
    assert list(table.values) == [f"{a}, {p}" for a in attentions for p in poolings]
    for place, (attention, pooling) in enumerate(combinations):
        score = table.values.loc["echo", f"{attention}, {pooling}"]
        assert score == pytest.approx(50 + place)
    assert table.values.notna().sum(axis=None) == len(combinations)
    labels = [
        text.get_text() for text in draw("attention_x_pooling", found).axes[0].get_xticklabels()
    ]
    assert labels[:4] == ["last\ncausal", "weighted mean\ncausal", "first\ncausal", "max\ncausal"]


def test_layers_are_rows_and_the_final_norm_comes_last(tmp_path):
    for layer, score in ((-1, 0.5), (0, 0.2), (10, 0.6), (2, 0.3)):
        cell(tmp_path, "echo", {"A": ("STS", score)}, layer=layer)
    table = tabulate("layers", compare(load_results([tmp_path])))
    assert list(table.values.index) == [0, 2, 10, -1]
    assert "**60.0**" in table.to_markdown() and table.to_csv().startswith("layer,echo\n0,20.0")


def test_posts_are_columns_with_their_difference_to_the_vectors_as_they_are(tmp_path):
    for post, right in ((None, 0.9), ("int8", 0.9), ("binary", 0.5), ("dims:16+binary", 0.4)):
        stated = {"steps": post, "fitted_on": {"name": "wikipedia"} if post == "int8" else None}
        entry = {"vector_bytes": 4, "texts": 5}
        scores = {"A": ("Classification", examples(100, right))}
        more = {"post": stated} if post else {}
        cell(tmp_path, "echo", scores, entry=entry, **more)
    cell(tmp_path, "sgpt", {"A": ("Classification", examples(100, 0.7))})
    found = compare(load_results([tmp_path]))
    names = ["echo", "echo (binary)", "echo (dims:16+binary)", "echo (int8)", "sgpt"]
    assert sorted(found.names.values()) == names
    table = tabulate("post", found)
    assert list(table.values) == ["float32", "int8", "binary", "dims:16+binary"]
    assert list(table.values.index) == ["echo"], "sgpt has no other kind of vector"
    assert table.values.loc["echo"].tolist() == pytest.approx([90, 90, 50, 40])
    assert table.notes.loc["echo", "int8"].startswith(" (+0.0 [")
    assert table.notes.loc["echo", "binary"].endswith("*")
    assert "measured on wikipedia" in table.caption
    assert tabulate("cost", found).values["B/vector"].dropna().tolist() == [4] * 4
    assert find_default(found, ("echo", "(binary)")) == ("echo", "")


def test_many_rows_leave_differences_significant(tmp_path):
    """Holm's correction over 30 rows must not be stopped by the number of resamples."""
    for number in range(30):
        right = 0.95 if number == 0 else 0.3
        cell(tmp_path, f"m{number:02}", {"A": ("Classification", examples(400, right))})
    found = compare(load_results([tmp_path]), samples=200)
    printed = tabulate("types", found).to_markdown().splitlines()
    assert "30.0" in printed[5] and "†" not in printed[5]
    assert tabulate("differences", found).notes["Classification"].str.endswith("*").sum() == 29


def test_cells_that_look_alike_stay_apart(tmp_path):
    for number, score in enumerate((0.2, 0.8)):
        adapters = [f"out/{number}/checkpoint-500"]
        cell(tmp_path, "echo", {"A": ("STS", score)}, adapters=adapters, digest=f"d{number}")
        folder = tmp_path / "results" / "org__big" / str(number)
        folder.mkdir(parents=True)
        (folder / "model_meta.json").write_text(json.dumps({"name": "org/big", "revision": number}))
        scores = {"test": [{"hf_subset": "default", "main_score": score}]}
        (folder / "A.json").write_text(json.dumps({"task_name": "A", "scores": scores}))
    rows = compare(load_results([tmp_path])).names.values()
    assert "echo (checkpoint-500, digest d0)" in rows and "big (mteb, weights 1)" in rows
    assert len(rows) == 4


def test_a_score_over_fewer_subsets_is_no_score(tmp_path):
    entry = {"subsets": ["default", "de"]}
    cell(tmp_path, "full", {"A": ("STS", 0.9)}, entry=entry)
    cell(tmp_path, "part", {"A": ("STS", 0.9)}, entry={"missing_parts": ["subset de"]})
    file = next(tmp_path.rglob("000/A.json"))
    result = json.loads(file.read_text())
    result["scores"]["test"].append({"hf_subset": "de", "main_score": 0.3})
    file.write_text(json.dumps(result))
    table = tabulate("types", compare(load_results([tmp_path])))
    assert table.values["STS"].droplevel("setting").to_dict() == pytest.approx(
        {"full": 60, "part": float("nan")}, nan_ok=True
    )
    assert "part on A (in part)" in table.caption


def test_two_models_are_two_rows_of_attention_and_pooling(tmp_path):
    for model in ("org/a", "org/b"):
        for pooling in ("last", "mean"):
            cell(tmp_path, "echo", {"A": ("STS", 0.5)}, model=model, pooling=pooling)
    table = tabulate("attention_x_pooling", compare(load_results([tmp_path])))
    assert list(table.values.index) == ["echo", "echo (b)"]
