"""`estimate=true` prints what a job or a sweep will cost, and leaves nothing where it ran."""

import json

from methods.cli.estimates import drop_no_estimate
from tests.cli.test_evaluate import dec2vec

SMALL = ["model=tiny", "tasks.names=[DemoLeeSmall]", "cache.folder=null"]


def test_an_estimate_prints_its_costs_and_leaves_no_file(tmp_path):
    words = ["method=sgpt", *SMALL, "estimate=true", "price_per_hour=2.5"]
    code, output = dec2vec("evaluate", *words, cwd=tmp_path)
    assert code == 0 and "an estimate; nothing is written" in output, output
    assert "tokens/s on cpu" in output and "at 2.5 an hour" in output
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_of_estimates_prints_a_line_a_job_and_the_sum(tmp_path):
    words = ["method=sgpt,echo", "layer=-1,9", *SMALL, "estimate=true", "price_per_hour=2"]
    code, output = dec2vec("evaluate", "-m", *words, cwd=tmp_path)
    assert code == 1, output  # layer 9
    lines = [line for line in output.splitlines() if "estimate of " in line]
    assert len(lines) == 2 and "sgpt (causal" in lines[0] and "echo (causal" in lines[1]
    (total,) = (line for line in output.splitlines() if "jobs together" in line)
    assert "4 jobs together" in total and "2 of the jobs, whose time is unknown" in total
    assert "at 2 an hour" in total and list(tmp_path.iterdir()) == []


def test_a_job_is_the_same_with_and_without_its_estimate(tmp_path):
    words = ["method=sgpt", *SMALL]
    for more in ([], ["estimate=false", "price_per_hour=null"]):
        assert dec2vec("evaluate", *words, *more, cwd=tmp_path)[0] == 0
    (file,) = tmp_path.rglob("run.json")
    record = json.loads(file.read_text())
    assert "estimate" not in record["command"] and record["command"].startswith("dec2vec evaluate")
    assert not {"estimate", "price_per_hour"} & record["config"].keys()
    words = ["tasks=demo", "estimate=false", "+price_per_hour=null", "estimate=true"]
    assert drop_no_estimate(words) == ["tasks=demo", "estimate=true"]


def test_what_has_no_estimate_ends_in_a_message(tmp_path):
    words = ["-m", "method=sgpt", *SMALL]
    for more, message in (
        (["estimate=true,false"], "estimate takes one value, for all jobs; write estimate=VALUE"),
        (["price_per_hour=2"], "price_per_hour=2 is for an estimate; add estimate=true"),
        (["estimate=true", "hydra/sweeper=search"], "cannot estimate a search"),
    ):
        code, output = dec2vec("evaluate", *words, *more, cwd=tmp_path)
        assert code == 1 and message in output and "Traceback" not in output


def test_an_estimate_of_a_training_makes_no_folder(tmp_path):
    rows = [{"query": f"text {n}", "positive": f"text {n} again"} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ["model=tiny", "data=file", "data.sources.mine.path=rows.jsonl", "recipe.steps=4"]
    more = ["recipe=demo", "recipe.batch_size=8", "method=sgpt", "estimate=true"]
    code, output = dec2vec("train", *words, *more, cwd=tmp_path)
    assert code == 0 and "4 of 8 rows; 40 rows of data" in output, output
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]
