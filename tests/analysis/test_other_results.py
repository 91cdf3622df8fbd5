"""Results that are not ours, records that are not whole: compared fairly, or named."""

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.comparison import compare
from analysis.records.cells import SCHEMA
from analysis.records.consistency import find_inconsistencies
from analysis.records.results import load_results
from analysis.render.html import make_page
from analysis.report import make_sections, report
from analysis.view import Options
from tests.analysis.cells import cell, examples, tabulate

ROOT = Path(__file__).parents[2]


def theirs(root, model, results, *, meta=True):
    """A folder of mteb's; results: file name -> content (JSON, or text as it stands)."""
    folder = root / "results" / model.replace("/", "__") / "1"
    folder.mkdir(parents=True, exist_ok=True)
    if meta:
        (folder / "model_meta.json").write_text(json.dumps({"name": model, "revision": "1"}))
    for name, content in results.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text)
    return folder


def result(task, revision="r", **splits):
    """Today's layout; splits: split -> {subset: main score}."""
    scores = {
        split: [{"hf_subset": subset, "main_score": score} for subset, score in subsets.items()]
        for split, subsets in splits.items()
    }
    return {"task_name": task, "dataset_revision": revision, "scores": scores}


def test_averages_of_other_peoples_results_are_over_the_same_languages(tmp_path):
    theirs(tmp_path, "org/a", {"STS17": result("STS17", test={"en-en": 0.8, "de-de": 0.4})})
    theirs(tmp_path, "org/b", {"STS17": result("STS17", test={"en-en": 0.7})})
    found = compare(load_results([tmp_path]))
    scores = found.scores["STS17"].droplevel("setting").to_dict()
    assert scores["a"] == pytest.approx(60) and pd.isna(scores["b"])
    printed = tabulate("tasks", found).to_markdown()
    assert "70.0" not in printed and "**" not in printed
    assert "A dash is a score that is not there: b on STS17 (in part)" in printed


def test_other_peoples_results_of_other_splits_are_not_compared(tmp_path):
    theirs(tmp_path, "org/a", {"X": result("X", test={"default": 0.8}), "Y": result("Y", dev={})})
    theirs(tmp_path, "org/b", {"X": result("X", "r2", validation={"default": 0.9})})
    frame = load_results([tmp_path])
    printed = tabulate("types", compare(frame)).to_markdown()
    assert "b on X (scored on validation alone)" in printed and "90.0" not in printed
    assert "X: scores are of different revisions of the data: r, r2" in find_inconsistencies(frame)


OLD = {"mteb_version": "1.0.2", "dataset_revision": "r"}


@pytest.mark.parametrize(
    ("content", "scores"),
    [
        (result("T", test={"en": 0.7, "de": 0.5}), {"en": 0.7, "de": 0.5}),
        ({**OLD, "mteb_dataset_name": "T", "test": {"cos_sim": {"spearman": 0.7}}}, 0.7),
        ({**OLD, "test": {"en": {"cos_sim": {"spearman": 0.7, "pearson": 0.1}}}}, {"en": 0.7}),
        ({**OLD, "test": {"evaluation_time": 3, "cos_sim": {"ap": 0.1}, "max": {"ap": 0.7}}}, 0.7),
        ({**OLD, "test": {"accuracy": 0.3, "f1": 0.2, "main_score": 0.7}}, 0.7),
        ({**OLD, "test": {"en": {"accuracy": 0.7, "f1": 0.2}, "evaluation_time": 1}}, {"en": 0.7}),
        ({**OLD, "test": {"ndcg_at_1": 0.1, "ndcg_at_10": 0.7, "map_at_10": 0.2}}, 0.7),
        ({**OLD, "test": {"map": 0.7, "mrr": 0.2}}, 0.7),
        ({**OLD, "test": {"v_measure": 0.7, "v_measures": {"Level 0": [0.1]}}}, 0.7),
        ({**OLD, "test": {"accuracy": 0.1, "f1": 0.7, "precision": 0.2, "recall": 0.3}}, 0.7),
    ],
)
def test_every_generation_of_mtebs_files_is_read(content, scores, tmp_path, caplog):
    theirs(tmp_path, "org/a", {"T": content})
    frame = load_results([tmp_path])
    assert set(frame["task"]) == {"T"} and set(frame["split"]) == {"test"}
    scores = scores if isinstance(scores, dict) else {"default": scores}
    assert dict(zip(frame["subset"], frame["score"], strict=True)) == pytest.approx(scores)
    assert not caplog.records


def test_older_results_lie_in_folders_without_a_description_of_the_model(tmp_path):
    content = {**OLD, "mteb_dataset_name": "PPC", "test": {"max": {"ap": 0.7}}}
    theirs(tmp_path, "org/a", {"PPC": content}, meta=False)
    (row,) = load_results([tmp_path]).to_dict("records")
    assert (row["model"], row["revision"], row["task"]) == ("org/a", "1", "PpcPC")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"task_name": "T", "sco', "no JSON"),
        ({"hello": 1}, "neither mteb's layout since 1.11"),
        ([1, 2], "neither mteb's layout"),
        ({"task_name": "T", "scores": [1]}, "`scores` is list"),
        ({"task_name": "T", "scores": {"test": 3}}, "split test is int"),
        ({"task_name": "T", "scores": {}}, "it holds no scores"),
    ],
)
def test_a_file_that_is_not_read_is_named_with_the_reason(content, reason, tmp_path, caplog):
    theirs(tmp_path, "org/a", {"Good": result("Good", test={"default": 0.5}), "T": content})
    report([tmp_path], tmp_path / "out")
    assert "T.json is not read" in caplog.text and reason in caplog.text
    page = (tmp_path / "out" / "report.html").read_text()
    assert "T.json is not read" in page and page.index("is not read") < page.index("What was run")


@pytest.mark.parametrize("score", [float("nan"), None, "high", float("inf")])
def test_a_score_that_is_no_number_is_a_dash_with_its_reason(score, tmp_path):
    theirs(tmp_path, "org/a", {"X": result("X", test={"default": score})})
    theirs(tmp_path, "org/b", {"X": result("X", test={"default": 0.5})})
    report([tmp_path], tmp_path / "out")
    printed = (tmp_path / "out" / "results" / "tasks.md").read_text()
    assert "a on X (undefined)" in printed and "50.0" in printed
    assert "its main score is" in (tmp_path / "out" / "report.html").read_text()


def test_a_result_without_a_known_main_score_is_a_dash_too(tmp_path):
    content = {**OLD, "mteb_dataset_name": "X", "test": {"hit_rate": 0.5, "accuracy_at_5": 0.1}}
    theirs(tmp_path, "org/a", {"X": content})
    (row,) = load_results([tmp_path]).to_dict("records")
    assert row["status"] == "undefined" and "holds no main score" in row["message"]


def test_a_model_whose_description_is_broken_is_named_by_its_folder(tmp_path, caplog):
    folder = theirs(tmp_path, "org/a", {"X": result("X", test={"default": 0.5})})
    (folder / "model_meta.json").write_text("{")
    assert set(load_results([tmp_path])["model"]) == {"org/a"}
    assert "model_meta.json is not read" in caplog.text


# --- our own records -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda record: "{",
        lambda record: "[]",
        lambda record: json.dumps({k: v for k, v in record.items() if k != "tasks"}),
        lambda record: json.dumps({**record, "tasks": {"A": {"status": "done"}}}),
        lambda record: json.dumps({**record, "tasks": {"A": "done"}}),
        lambda record: json.dumps({**record, "training": [{"learning_rate": 1}]}),
    ],
)
def test_a_record_that_cannot_be_read_is_named_and_the_others_are_shown(change, tmp_path, caplog):
    cell(tmp_path, "good", {"A": ("STS", 0.5)})
    broken = cell(tmp_path, "broken", {"A": ("STS", 0.9)}) / "record" / "run.json"
    broken.write_text(change(json.loads(broken.read_text())))
    report([tmp_path], tmp_path / "out")
    assert f"{broken} is not read" in caplog.text
    assert f"{broken} is not read" in (tmp_path / "out" / "report.html").read_text()
    (table,) = (tmp_path / "out").rglob("types.md")
    assert "good" in table.read_text() and "broken" not in table.read_text()


def test_a_record_of_a_newer_schema_is_refused_by_name(tmp_path):
    cell(tmp_path, "known", {"A": ("STS", 0.5)}, schema=SCHEMA)
    assert set(load_results([tmp_path])["schema"]) == {SCHEMA}
    newer = cell(tmp_path, "newer", {"A": ("STS", 0.5)}, schema=SCHEMA + 1)
    with pytest.raises(ValueError, match=f"run.json is a record of schema {SCHEMA + 1}; known"):
        load_results([tmp_path])
    command = [sys.executable, "-m", "analysis", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert str(newer / "record" / "run.json") in done.stderr


def test_a_record_without_a_number_is_of_schema_0(tmp_path):
    cell(tmp_path, "old", {"A": ("STS", 0.5)})
    assert set(load_results([tmp_path])["schema"]) == {0}


def test_a_page_shows_the_records_that_were_read(tmp_path):
    """Not what lies at their place by then, nor at a path that another folder resolves."""
    cell(tmp_path / "runs", "echo", {"A": ("STS", 0.5)}, machine="a machine")
    frame = load_results([tmp_path / "runs"])
    (tmp_path / "runs").rename(tmp_path / "moved")
    made = [replace(section, figures=[]) for section in make_sections(frame, Options())]
    assert "a machine" in make_page(frame, made)


def test_splits_are_compared_apart_where_their_data_are_stamped(tmp_path):
    """A cell of one split and a cell of two are not of other data where they meet."""
    stamp = {"data": "d-test", "code": "c"}
    one = {"parts": {"test": {"default": stamp}}, "data": "d-test"}
    two = {"parts": {**one["parts"], "dev": {"default": {"data": "d-dev"}}}, "data": "d-both"}
    cell(tmp_path, "one", {"A": ("STS", 0.5)}, entry=one)
    cell(tmp_path, "two", {"A": ("STS", 0.6)}, entry={**two, "splits": ["test", "dev"]})
    assert find_inconsistencies(load_results([tmp_path])) == []


# --- which splits are shown ----------------------------------------------------------------------


def two_splits(tmp_path, method, scores, **more):
    folder = cell(tmp_path, method, {"A": ("STS", 0.5)}, entry={"splits": list(scores)}, **more)
    parts = {s: [{"hf_subset": "default", "main_score": v}] for s, v in scores.items()}
    (folder / "A.json").write_text(json.dumps({"dataset_revision": "r1", "scores": parts}))
    return folder


def test_the_caption_says_which_split_is_shown(tmp_path):
    two_splits(tmp_path, "echo", {"validation": 0.9, "test": 0.5}, schema=SCHEMA)
    printed = tabulate("tasks", compare(load_results([tmp_path]))).to_markdown()
    assert "50.0" in printed and "shown is: test (A)" in printed


def test_without_a_test_split_it_is_the_mean_of_all_and_said(tmp_path):
    two_splits(tmp_path, "echo", {"validation": 0.9, "dev": 0.5})
    printed = tabulate("tasks", compare(load_results([tmp_path]))).to_markdown()
    assert "70.0" in printed and "shown is: the mean of validation and dev (A)" in printed


def test_a_benchmarks_splits_are_its_own(tmp_path):
    config = {"tasks": {"benchmark": "MTEB(Multilingual, v2)"}}
    two_splits(tmp_path, "echo", {"validation": 0.9, "test": 0.5}, config=config)
    printed = tabulate("tasks", compare(load_results([tmp_path]))).to_markdown()
    assert "70.0" in printed and "the mean of validation and test (A)" in printed


def test_a_row_of_another_split_alone_is_a_dash_with_its_reason(tmp_path):
    two_splits(tmp_path, "echo", {"test": 0.5})
    two_splits(tmp_path, "sgpt", {"validation": 0.9})
    printed = tabulate("tasks", compare(load_results([tmp_path]))).to_markdown()
    assert "sgpt on A (scored on validation alone)" in printed and "90.0" not in printed


def test_different_commands_of_one_experiment_are_told_by_it(tmp_path):
    for method, seed in (("echo", 1), ("sgpt", 2), ("udever", 2)):
        text = f"dec2vec evaluate method={method} experiment=sts seed={seed}"
        cell(tmp_path, method, {"A": ("STS", 0.5)}, command=text, schema=1)
    caption = tabulate("tasks", compare(load_results([tmp_path]))).caption
    assert caption.endswith("Made by: experiment=sts (3 commands, listed in report.html)")


# --- nothing of numpy's or scipy's reaches the terminal -------------------------------------------


def kept(folder, statistic, values, gold):
    frame = pd.DataFrame({"split": "test", "subset": "default", "value": values, "gold": gold})
    frame.insert(2, "example", range(len(frame)))
    frame.to_csv(folder / "record" / "examples" / "A.csv.gz", index=False)
    file = folder / "record" / "run.json"
    record = json.loads(file.read_text())
    record["tasks"]["A"]["examples"] = {"statistic": statistic, "unit": "pair", "count": 9}
    file.write_text(json.dumps(record))


def odd_records(root):
    """Scores and examples that leave statistics without a spread."""
    nine, nan = [i / 10 for i in range(9)], float("nan")
    for method in "abc":
        cell(root / "equal", method, {t: ("STS", [0.5] * 4) for t in "ABCDEFG"})
        cell(root / "one", method, {"A": ("Retrieval", [0.5])})
        cell(root / "undefined", method, {"A": ("STS", nan), "B": ("STS", 0.5)})
        cell(root / "failed", method, {"A": ("STS", "failed"), "B": ("STS", "missing")})
        cell(root / "idle", method, {"A": ("STS", 0.0)}, entry=dict.fromkeys(IDLE, 0))
        folder = cell(root / "constant", method, {"A": ("STS", 0.5)})
        kept(folder, "spearman", nine if method == "a" else [0.5] * 9, [1.0] * 9)
        folder = cell(root / "blank", method, {"A": ("STS", 0.5)})
        kept(folder, "spearman", [nan, *nine[1:]], nine)
        folder = cell(root / "negative", method, {"A": ("PairClassification", 0.5)})
        kept(folder, "average_precision", nine, [0.0] * 9)
    for layer in (0, 1, 2, -1):
        cell(root / "layers", "echo", {"A": ("STS", nan)}, layer=layer)
    return sorted(root.iterdir())


IDLE = ("tokens", "texts", "tokens_computed", "tokens_per_second", "seconds", "linear_weights")


def test_statistics_without_a_spread_warn_of_nothing(tmp_path):
    for runs in odd_records(tmp_path / "runs"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            report([runs], tmp_path / "out" / runs.name, samples=20)
    equal = tmp_path / "out" / "equal" / "equal" / "differences.md"
    assert "Friedman p = 1" in equal.read_text()


def test_too_few_samples_are_told(tmp_path):
    for method in "ab":
        cell(tmp_path, method, {"A": ("Classification", examples(20, 0.5))})
    with pytest.raises(ValueError, match="a bootstrap needs at least 2 samples.*got 1"):
        report([tmp_path], tmp_path / "out", samples=1)
