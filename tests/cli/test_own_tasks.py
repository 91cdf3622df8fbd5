"""Tasks on a user's own data, by the commands of methods/evaluation/README.md as they stand."""

import json
import re
import shlex
from pathlib import Path

import pytest

from methods.cli.remake import rerun
from tests.cli.test_evaluate import dec2vec
from tests.evaluation.own_files import (
    write,
    write_beir,
    write_llama_index,
    write_pairs,
    write_topics,
)

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "methods" / "evaluation" / "README.md").read_text().split("## Your own tasks")[1]
SECTION = SECTION.split("\n## ")[0]
TASK = """
from datasets import Dataset, DatasetDict
from mteb import TaskMetadata
from mteb.abstasks import AbsTaskSTS


class MyTask(AbsTaskSTS):
    metadata = TaskMetadata(
        name="MyTask", description="mine", dataset={"path": "mine", "revision": "1"}, type="STS",
        eval_langs=["eng-Latn"], main_score="cosine_spearman",
    )
    shift = 0

    def load_data(self, num_proc=None, **kwargs):
        rows = {
            "sentence1": ["a dog", "a cat", "the sun", "ice"],
            "sentence2": ["a puppy", "the moon", "it is hot", "a red car"],
            "score": [5.0, 0.0, 3.0, 1.0],
        }
        self.dataset = {"default": DatasetDict({"test": Dataset.from_dict(rows)})}
        self.data_loaded = True
"""


def list_blocks(language):
    return re.findall(rf"^```{language}\n(.+?)^```", SECTION, re.S | re.M)


def read_records(folder):
    return [json.loads(file.read_text()) for file in sorted(folder.rglob("record/run.json"))]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the files that the README's commands name."""
    folder = tmp_path_factory.mktemp("home")
    write_pairs(folder)
    write_beir(folder)
    write_llama_index(folder)
    write_topics(folder, "posts.csv", header="body,label")
    return folder


def test_the_readmes_commands_score_and_report_every_kind(home):
    (block,) = list_blocks("bash")
    commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert len(commands) == 5 and commands[-1] == ["dec2vec", "report"]
    for command in commands[:-1]:
        code, output = dec2vec(*command[1:], "model=tiny", cwd=home)
        assert code == 0, output
    code, output = dec2vec("report", cwd=home)
    assert code == 0, output
    for name in ("pairs", "my_beir", "qa", "Posts"):
        assert f" {name}-own-" in output
    found = {
        entry["own"]["name"]: (entry["own"]["kind"], entry["main_score"])
        for record in read_records(home)
        for entry in record["tasks"].values()
    }
    assert found == {
        "pairs": ("sts", "cosine_spearman"),
        "my_beir": ("retrieval", "ndcg_at_10"),
        "qa": ("retrieval", "ndcg_at_10"),
        "Posts": ("clustering", "v_measure"),
    }
    for kind, score in found.values():
        assert f"`{kind}`" in SECTION and f"`{score}`" in SECTION


def test_the_readmes_python_scores_as_it_stands(home, monkeypatch, capsys):
    (block,) = list_blocks("python")
    monkeypatch.chdir(home)
    exec(block.replace('load_encoder("echo")', 'load_encoder("echo", model="tiny")'), {})
    score, number = capsys.readouterr().out.split()[-2:]
    assert -1 <= float(score) <= 1 and int(number) == 5


def test_bad_data_end_the_command_in_a_line_before_a_model_is_loaded(home):
    bad = write(home, "bad.csv", "sentence1,sentence2,score\na,b,1\nc,,2\n")
    gone = "model.source.path=/nowhere"
    for own, message in (
        (f"[{bad.name}]", "line 3: sentence2 is empty"),
        ("[posts.csv]", "fit no kind of task"),
        ("[gone.csv]", "there is no gone.csv"),
        ("pairs.csv", "is one value where a list is meant; write tasks.own=[pairs.csv]"),
        ("[{path: pairs.csv, kind: ssts}]", "'ssts' is unknown; valid: sts"),
    ):
        code, output = dec2vec(
            "evaluate", "method=sgpt", "model=folder", gone, f"tasks.own={own}", cwd=home
        )
        assert code != 0 and message in output and "Traceback" not in output, output
    for words, message in (
        (["tasks=pairs.csv"], "for data of your own write 'tasks.own=[pairs.csv]'"),
        (["tasks.names=[pairs.csv]"], "your own data are tasks.own=[pairs.csv]"),
        (["own=[pairs.csv]"], "write 'tasks.own=[pairs.csv]'"),
        (["tasks.own=[~/a b.csv,c.csv]"], "\"tasks.own=['~/a b.csv',c.csv]\""),
    ):
        code, output = dec2vec("evaluate", "method=sgpt", "model=tiny", *words, cwd=home)
        assert code != 0 and message in output, output


def test_an_edited_file_is_another_task_and_a_record_is_rerun(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write_pairs(tmp_path)
    dev = ["tasks.own=[{path: pairs.csv, split: dev, scale: [0, 5]}]", "model.dtype=float32"]
    words = ["evaluate", "method=sgpt", "model=tiny", *dev]
    assert dec2vec(*words, cwd=tmp_path)[0] == 0
    (path,) = tmp_path.rglob("record/run.json")
    report = rerun(path, runs=tmp_path / "again")
    assert report.agrees, report.lines
    assert any(line.startswith("pairs ") and "dev" in line for line in report.lines)
    file.write_text(file.read_text().replace("a dog runs", "a dog walks"))
    code, output = dec2vec(*words, cwd=tmp_path)
    assert code == 0, output
    (record,) = read_records(tmp_path / "runs")
    assert len(record["tasks"]) == 2
    assert {entry["status"] for entry in record["tasks"].values()} == {"done"}


def test_a_class_is_a_task_and_its_code_counts(tmp_path):
    write(tmp_path, "mine/my_module.py", TASK)
    write(tmp_path, "mine/tasks/mine.yaml", "names: []\nown: [{_target_: my_module.MyTask}]\n")
    words = ["evaluate", "--config-dir", "mine", "method=e5_instruct", "model=tiny", "tasks=mine"]
    digests = []
    for shift in (0, 1):
        write(tmp_path, "mine/my_module.py", TASK.replace("shift = 0", f"shift = {shift}"))
        code, output = dec2vec(*words, "mirror=.", cwd=tmp_path)
        assert code == 0, output
        (record,) = read_records(tmp_path)
        (entry,) = record["tasks"].values()
        assert entry["status"] == "done" and entry["own"]["given"] == {
            "_target_": "my_module.MyTask"
        }
        digests.append(entry["data"])
    assert digests[0] != digests[1]
    for old, new, message in (
        ('name="MyTask"', 'name="STS12"', "is called STS12, which is a task of mteb"),
        ("class MyTask(AbsTaskSTS)", "class MyTask", "is no task"),
        ("class MyTask(AbsTaskSTS)", "class Other(AbsTaskSTS)", "cannot be imported"),
    ):
        write(tmp_path, "mine/my_module.py", TASK.replace(old, new))
        code, output = dec2vec(*words, cwd=tmp_path)
        assert code != 0 and message in output, output
