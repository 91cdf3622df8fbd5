"""Records in, golden tables out: a run in which one task failed and one is missing."""

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.results import load_results
from analysis.tables import keep_tasks, task_table, type_table

GOLDEN = Path(__file__).parents[1] / "fixtures" / "tables"
ENTRY = {"splits": ["test"], "subsets": ["default"], "data": "d", "main_score": "m", "tokens": 10}


def cell(root, method, scores, *, options=None, model="org/small", dtype="bfloat16", **more):
    """A cell's folder as dec2vec evaluate leaves it; scores: task -> (type, score or status)."""
    number = len(list(root.rglob("run.json")))
    folder = root / "results" / model.replace("/", "__") / "rev" / "experiments" / str(number)
    (folder / "record").mkdir(parents=True)
    tasks = {}
    for task, (type_, score, *error) in scores.items():
        if isinstance(score, str):
            tasks[task] = {"status": score, "error": f"{task} is {score}", "type": type_}
            continue
        tasks[task] = {**ENTRY, "status": "done", "type": type_}
        one = {"hf_subset": "default", "main_score": score}
        one |= {"main_score_error": error[0]} if error else {}
        (folder / f"{task}.json").write_text(json.dumps({"scores": {"test": [one]}}))
    about = {
        "model": model,
        "revision": "rev",
        "adapters": [],
        "method": method,
        "options": options or {},
        "attention": "causal",
        "pooling": "last",
        "layer": -1,
        "dtype": dtype,
        "instructions": None,
        "digest": "0",
        "commit": "abc",
        "tasks": tasks,
    }
    (folder / "record" / "run.json").write_text(json.dumps(about | more))


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
@pytest.mark.parametrize("make", [task_table, type_table])
def test_a_table_is_written_as_the_golden_file_has_it(runs, make, form, tmp_path):
    table = make(load_results([runs]))
    written = {file.suffix[1:]: file for file in table.write(tmp_path / "out")}[form]
    golden = GOLDEN / written.name
    if not golden.exists():  # a new golden is written once, to be read and committed
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(written.read_text())
        pytest.fail(f"{golden} did not exist; look at it and run again")
    assert written.read_text() == golden.read_text()


def test_an_average_over_a_missing_score_is_withheld(runs):
    values = type_table(load_results([runs])).values
    by_method = values.droplevel("setting")
    assert pd.isna(by_method.loc["sgpt", "STS"]) and pd.isna(by_method.loc["sgpt", "Average"])
    assert by_method.loc["echo", "STS"] == pytest.approx(56.25)
    assert pd.isna(by_method.loc["baseline_100%", "Average"])


def test_a_score_with_an_error_is_printed_with_it_and_not_ranked(runs):
    table = task_table(load_results([runs]))
    rows = [row.split("|") for row in table.to_markdown().splitlines()[:5]]
    column = next(i for i, name in enumerate(rows[0]) if "DemoLee" in name)
    lee = [row[column] for row in rows]
    assert "60.0 ± 4.0" in lee[2] and "**" not in "".join(lee)


def test_rows_that_do_not_compare_are_said(tmp_path, caplog):
    cell(tmp_path, "echo", {"STS12": ("STS", 0.5)})
    cell(tmp_path, "echo", {"STS12": ("STS", 0.51)}, dtype="float32")
    frame = load_results([tmp_path])
    assert "echo on STS12 stands there 2 times (dtypes: bfloat16, float32)" in caplog.text
    assert "bfloat16" in task_table(frame).to_markdown()


def test_tasks_can_be_chosen_and_unknown_ones_are_told(runs):
    frame = load_results([runs])
    assert set(keep_tasks(frame, ["STS12"])["task"]) == {"STS12"}
    with pytest.raises(ValueError, match="no record of STS99; there are: Banking77Classification"):
        keep_tasks(frame, ["STS99"])


def test_a_task_scored_on_two_splits_is_shown_on_its_test_split(runs):
    frame = load_results([runs])
    extra = frame[frame["task"] == "STS12"].assign(split="validation", score=0.99)
    both = pd.concat([frame, extra], ignore_index=True)
    assert task_table(both).to_csv() == task_table(frame).to_csv()


def test_a_folder_without_records_is_told(tmp_path):
    with pytest.raises(ValueError, match="holds no records"):
        load_results([tmp_path])
