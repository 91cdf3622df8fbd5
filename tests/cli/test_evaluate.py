"""The command as a user runs it, in processes of its own."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.command import Command

ROOT = Path(__file__).parents[2]


def started(*arguments, cwd):
    """The command, running."""
    return Command(*arguments, cwd=cwd, environment={"HYDRA_FULL_ERROR": "0"})


def dec2vec(*arguments, cwd):
    """Run the command; return its exit status and its output."""
    process = started(*arguments, cwd=cwd)
    output, _ = process.communicate()
    return process.returncode, output


def readme_blocks(language):
    """The README's code blocks in one language."""
    readme = (ROOT / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.+?)^```", readme, re.S | re.M)


def write_readme_files(folder):
    """Write what the README says to write: each block that begins with the name of its file."""
    for block in (*readme_blocks("python"), *readme_blocks("yaml")):
        if named := re.match(r"# (mine/\S+)\n", block):
            file = folder / named[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block)


@pytest.fixture(scope="module")
def small_mirror(tmp_path_factory):
    """Two STS datasets of a few rows, laid out as on the Hub."""
    import pandas as pd

    folder = tmp_path_factory.mktemp("mirror")
    for name in ("sts12-sts", "sts13-sts"):
        rows = {
            "sentence1": [f"text {i}" for i in range(12)],
            "sentence2": [f"text number {i * i}" for i in range(12)],
            "score": [float(i % 6) for i in range(12)],
        }
        (folder / name / "data").mkdir(parents=True)
        pd.DataFrame(rows).to_parquet(folder / name / "data" / "test.parquet")
    return folder


@pytest.fixture
def base(small_mirror):
    return ["model=tiny", "tasks.names=[STS12,STS13]", f"mirror={small_mirror}", "runs=runs"]


def statuses(folder):
    files = sorted((folder / "runs" / "jobs").rglob("status.json"))
    return [json.loads(file.read_text())["status"] for file in files]


def test_the_readmes_method_runs_by_the_readmes_command_and_is_reported(tmp_path, base):
    """Its two files and its command as they stand there, on a smaller model and smaller tasks."""
    write_readme_files(tmp_path)
    assert sorted(path.name for path in (tmp_path / "mine").rglob("*.*")) == [
        "shout.py",
        "shout.yaml",
    ]
    lines = [line for block in readme_blocks("bash") for line in block.splitlines()]
    (command,) = (shlex.split(line) for line in lines if "--config-dir mine" in line)
    assert command[:2] == ["dec2vec", "evaluate"]
    code, output = dec2vec(*command[1:], *base, cwd=tmp_path)
    assert code == 0, output
    assert statuses(tmp_path) == ["done"] * 3
    records = [json.loads(file.read_text()) for file in tmp_path.rglob("record/run.json")]
    assert {record["method"] for record in records} == {"shout", "sgpt", "echo"}
    (shout,) = (record for record in records if record["method"] == "shout")
    assert shout["options"] == {"emphasis": "!!!"}
    code, output = dec2vec("report", cwd=tmp_path)
    assert code == 0 and "| shout" in output and "| sgpt" in output and "STS avg" in output
    assert (tmp_path / "runs" / "report" / "runs" / "tasks.tex").is_file()
    code, output = dec2vec("methods", "--config-dir", "mine", cwd=tmp_path)
    assert code == 0 and "Shout (you, this year)" in output and "arXiv 2402.15449" in output


def test_an_experiment_ends_in_its_table_and_figure(tmp_path, base):
    code, output = dec2vec("evaluate", "experiment=layers", "method=sgpt", *base, cwd=tmp_path)
    assert code == 0, output
    report = next(tmp_path.rglob("report.html")).parent
    made = {file.name for file in (report / "layers").iterdir()}
    assert made == {f"layers.{kind}" for kind in ("md", "tex", "csv", "pdf", "png")}
    assert "by the layer that is pooled" in output and "sgpt" in output


def test_a_failing_job_is_logged_in_its_folder_the_sweep_goes_on_and_the_exit_says_so(
    tmp_path, base
):
    code, output = dec2vec("evaluate", "-m", "method=sgpt", "layer=9,1,2", *base, cwd=tmp_path)
    assert code != 0
    assert statuses(tmp_path) == ["failed", "done", "done"]
    log = next((tmp_path / "runs" / "jobs").rglob("0_sgpt/evaluate.log")).read_text()
    assert "layer 9 is out of range; this model has 3 layers" in log


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "method=eco"], "did you mean method=echo?"),
        (["evaluate"], "no method is given; write method=NAME, one of: angle"),
        (
            ["evaluate", "method=sgpt", "model=tiny", "tasks.names=[STS99]"],
            "task 'STS99' is unknown",
        ),
        (["evaluate", "method=sgpt", "model=tiny", "mirror=nowhere"], "nowhere is no folder"),
        (["report", "nowhere"], "there is no folder nowhere"),
        (
            ["evalute"],
            "no verb 'evalute'; valid: evaluate, train, encode, synthesize, export, ask, try, "
            "compare, report, rerun, methods, cache",
        ),
    ],
)
def test_bad_input_ends_with_a_message_and_a_status(arguments, message, tmp_path):
    code, output = dec2vec(*arguments, cwd=tmp_path)
    assert code != 0 and message in output and "Traceback" not in output


def test_two_processes_give_the_results_of_one(tmp_path, base):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    scores = {}
    for name, launcher in (("one", []), ("two", ["hydra/launcher=processes"])):
        (tmp_path / name).mkdir()
        arguments = ["-m", "method=sgpt,echo", "model.dtype=float32", *launcher, *base]
        code, output = dec2vec("evaluate", *arguments, cwd=tmp_path / name)
        assert code == 0, output
        scores[name] = {
            str(file.relative_to(tmp_path / name)): json.loads(file.read_text())["scores"]
            for file in (tmp_path / name / "runs" / "results").rglob("STS1*.json")
        }
    assert len(scores["one"]) == 4
    assert scores["one"].keys() == scores["two"].keys()
    for file, one in scores["one"].items():
        main = [s["test"][0]["main_score"] for s in (one, scores["two"][file])]
        assert main[0] == pytest.approx(main[1], abs=1e-6)


def test_the_shell_completes_verbs_groups_and_values(tmp_path, monkeypatch):
    for line, message in (("dec2vec ev", "evaluate"), ("dec2vec evaluate method=s", "method=sgpt")):
        monkeypatch.setenv("COMP_LINE", line)
        code, output = dec2vec("-sc", "query=bash", cwd=tmp_path)
        assert code == 0 and message in output.split()


def tasks_of(folder):
    """Scores and tokens computed of every cell and task under a runs folder."""
    found = {}
    for file in sorted(folder.rglob("run.json")):
        record = json.loads(file.read_text())
        for task, entry in record["tasks"].items():
            result = json.loads((file.parent.parent / f"{task}.json").read_text())
            score = result["scores"]["test"][0]["main_score"]
            found[record["method"], record["layer"], task] = (score, entry["tokens_computed"])
    return found


def test_two_sweeps_on_one_cache_agree_with_one_alone_and_a_repetition_encodes_nothing(
    tmp_path, base
):
    swept = ["-m", "method=sgpt,echo", "layer=[1,-1]", *base[:-1]]
    cached = [*swept, f"cache.folder={tmp_path / 'cache'}"]
    both = [started("evaluate", *cached, f"runs={name}", cwd=tmp_path) for name in ("a", "b")]
    for process in both:
        output, _ = process.communicate()
        assert process.returncode == 0, output
    code, output = dec2vec("evaluate", *swept, "cache.folder=null", "runs=alone", cwd=tmp_path)
    assert code == 0, output
    alone, *others = (tasks_of(tmp_path / name) for name in ("alone", "a", "b"))
    assert len(alone) == 8 and sum(tokens for _, tokens in alone.values()) > 0
    for other in others:
        assert {key: s for key, (s, _) in other.items()} == {k: s for k, (s, _) in alone.items()}
    assert dec2vec("evaluate", *cached, "runs=again", cwd=tmp_path)[0] == 0
    again = tasks_of(tmp_path / "again")
    assert {key: (score, 0) for key, (score, _) in alone.items()} == again

    code, output = dec2vec("cache", "info", "--folder", "cache", cwd=tmp_path)
    assert code == 0 and " vectors, 0.00 GiB" in output and ": 0 vectors" not in output
    code, output = dec2vec("cache", "clear", "--folder", "cache", cwd=tmp_path)
    assert code == 0 and ": 0 vectors" in output
    code, output = dec2vec("cache", "info", "--folder", "nowhere", cwd=tmp_path)
    assert code != 0 and "there is none in nowhere" in output
