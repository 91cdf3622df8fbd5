"""How a verb ends: interrupted, failed, nothing scored, and with a command that can be pasted."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from methods.cli.train import make_evaluation_command
from methods.config.resolve import build_method, compose
from methods.config.settings import TaskList
from methods.encoding.post import NO_POST
from methods.evaluation.job import Job
from methods.evaluation.summary import (
    compute_main_score,
    format_final_scores,
    format_score_table,
    format_splits,
)
from tests.cli.test_evaluate import dec2vec

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seconds", [0.7, 4])
def test_an_interrupt_ends_in_one_line_and_status_130(seconds, tmp_path):
    code = "print('started', flush=True)\nfrom methods.cli import main; main()"
    words = ["evaluate", "method=sgpt", "model=tiny", "tasks=demo", "cache.folder=null"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline() == "started\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, output = process.communicate()
    assert process.returncode == 130 and "Traceback" not in output
    (line,) = (line for line in output.splitlines() if "dec2vec" in line)
    assert "finished tasks and cached vectors are safe; the same command resumes" in line


def test_a_task_that_the_mirror_lacks_alone_is_a_failure_with_its_reason(tmp_path):
    from methods.config.resolve import resolve_evaluation

    (tmp_path / "mirror").mkdir()
    resolved = resolve_evaluation(compose(["method=sgpt", "model=tiny"]), name="sgpt")
    tasks = TaskList(names=["STS22"], mirror=str(tmp_path / "mirror"))
    with pytest.raises(ValueError, match="nothing can be scored.*STS22: .* is not in the mirror"):
        Job(resolved, tasks, tmp_path / "runs").run()


def task(name="STSBenchmark", splits=("test",), subsets=("default",)):
    about = SimpleNamespace(name=name, main_score="cosine_spearman")
    return SimpleNamespace(metadata=about, eval_splits=list(splits), hf_subsets=list(subsets))


def test_a_score_is_mtebs_over_the_splits_that_are_evaluated_and_names_them():
    scores = {
        "test": [
            {"hf_subset": "en", "main_score": 0.2},
            {"hf_subset": "de", "main_score": 0.4},
        ],
        "validation": [{"hf_subset": "en", "main_score": 0.9}],
    }
    result = SimpleNamespace(scores=scores)
    assert compute_main_score(result, task(subsets=["en"])) == 0.2
    assert compute_main_score(result, task(subsets=["en", "de"])) == pytest.approx(0.3)
    assert compute_main_score(result, task(splits=["validation"], subsets=["en"])) == 0.9
    assert compute_main_score(result, task(splits=["dev"])) is None
    assert format_splits(task(splits=["test"], subsets=["en", "de"])) == "test (en, de)"


def test_the_table_names_what_is_missing_and_what_failed():
    config = compose(["method=sgpt", "model=tiny"])
    poolings = ("last", "mean")
    cells = [(build_method(config.method, pooling=pooling), NO_POST) for pooling in poolings]
    known = {("STSBenchmark", 0): 0.165, ("STSBenchmark", 1): None}
    table = format_score_table([task()], cells, known, missing={"STS22": "not in the mirror"})
    head, row, lost = table.splitlines()
    assert head.split() == ["task", "split", "metric", "pooling=last", "pooling=mean"]
    assert row.split() == ["STSBenchmark", "test", "cosine_spearman", "16.50", "failed"]
    assert lost.split(maxsplit=1) == ["STS22", "missing: not in the mirror"]
    assert len(head) == len(row)


def test_a_job_of_a_sweep_logs_its_scores_in_one_line():
    cells = [(build_method(compose(["method=sgpt", "model=tiny"]).method), NO_POST)]
    tasks, known = [task("STS12"), task("STS13"), task("STS14")], {("STS12", 0): 0.165}
    known |= {("STS13", 0): None, ("STS14", 0): 0.5}
    line = format_final_scores("sgpt", tasks, cells, known, missing={"STS22": "lost"}, brief=True)
    message = "STS12 16.50, STS13 failed, STS14 50.00, STS22 missing"
    assert line == f"sgpt (causal weighted_mean -1), main scores x 100: {message}"


def test_a_sweep_over_a_few_tasks_logs_one_line_a_method(tmp_path):
    words = ["method=sgpt,echo", "model=tiny", "tasks.names=[DemoLeeSmall]", "runs=runs"]
    code, output = dec2vec("evaluate", "-m", *words, cwd=tmp_path)
    assert code == 0
    lines = [line for line in output.splitlines() if "DemoLeeSmall " in line]
    assert len(lines) == 2 and "sgpt (causal" in lines[0] and "echo (causal" in lines[1]
    assert all(re.search(r"main scores x 100: DemoLeeSmall -?\d+\.\d\d$", line) for line in lines)


def trained(*, all_weights=False, method=None, mirror=None, runs="runs", scored=None):
    config = {"evaluate": scored or {"names": []}, "runs": runs}
    return SimpleNamespace(
        trains_all_weights=all_weights,
        method=method,
        mirror=mirror,
        config=config,
        config_dir=None,
    )


def test_the_command_that_a_training_ends_with_can_be_pasted():
    chosen = {"method": "sgpt", "model": "tiny"}
    overrides = ["recipe=demo", "model=tiny", "model.dtype=float32", "method.max_length=75"]
    scored = {"names": ["STS12"], "splits": {"STS12": ["test"]}, "subsets": {"STS12": ["default"]}}
    adapter = trained(mirror="/tmp/it's here", runs="runs/mine", scored=scored)
    line = make_evaluation_command(adapter, Path("runs/my adapter"), chosen, overrides)
    start, verb, *words = shlex.split(line)
    assert (start, verb) == ("dec2vec", "evaluate")
    config = compose(["method=sgpt", *words])  # an adapter folder brings its method
    assert config.adapter == "runs/my adapter" and config.mirror == "/tmp/it's here"
    assert {key: config.tasks[key] for key in scored} == scored and config.runs == "runs/mine"
    assert config.model.name == "dec2vec/tiny" and config.model.dtype == "float32"

    method = build_method(compose(["method=sgpt", "method.max_length=75"]).method)
    whole = trained(all_weights=True, method=method)
    words = shlex.split(make_evaluation_command(whole, Path("runs/full"), chosen, overrides))[2:]
    config = compose(words)
    assert config.model.source.path == "runs/full" and config.method.max_length == 75


def test_a_report_that_does_not_exist_is_told_before_anything_runs():
    from methods.cli.jobs import check_report

    with pytest.raises(ValueError, match="report=layrs is unknown; valid: sts, .*mean layers"):
        check_report(compose(["method=sgpt", "report=layrs"]))


def test_a_training_leaves_its_status(tmp_path):
    from tests.cli.test_evaluate import dec2vec

    given = ["recipe=demo", "model=tiny", "data=file", "data.sources.mine.path=nowhere.jsonl"]
    code, output = dec2vec("train", *given, cwd=tmp_path)
    assert code == 1 and "Traceback" not in output and "there is no nowhere.jsonl" in output
    (file,) = tmp_path.rglob("status.json")
    status = json.loads(file.read_text())
    assert status["status"] == "failed" and "there is no nowhere.jsonl" in status["error"]
