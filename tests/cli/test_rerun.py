"""`dec2vec rerun`: records of every experiment, rerun on the tiny model, and what differs."""

import json
import shutil

import pytest

from methods.cli import remake
from methods.cli.remake import rerun
from methods.config.names import list_choices
from tests.cli.test_evaluate import base, dec2vec, small_mirror
from tests.cli.test_train import pairs
from tests.documents.tuning.conftest import write_docs

__all__ = ["base", "small_mirror"]  # fixtures
FEWER = {  # of each experiment, what stays of its sweep
    "attention_x_pooling": ["method=sgpt", "attention=bidirectional", "pooling=[last,mean]"],
    "layers": ["method=prompteol", "layer=all"],
    "main_table": ["method=echo", "tasks.splits=null", "tasks.subsets=null"],
    "position": ["method=sgpt"],
    "prompts": ["method.prompt='In short, {text} is'"],
    "prompts_echo": ["method.prompt='{text}, again: {text}'"],
    "prompts_instruct": ["method.prompt='{instruction}: {text}'"],
    "post": ["method=sgpt", "post=[null,dims:16,int8]", "fit_on=corpus.txt"],
    "sts": ["method=llm2vec"],
    "templates": ["template=sgpt_brackets"],
    "fair_supervised": ["method=e5_instruct"],
    "own_documents": ["method=sgpt", "docs=docs", "documents.max_tokens=600", "run.every=3"],
    "fair_unsupervised": ["method=sgpt"],
    "pooling_and_attention": [
        "method.attention=bidirectional",
        "method.pooling=last",
        "recipe.trainable.pooler.kind=latent_attention",
    ],
    "trained": ["recipe=llm2vec_supervised_demo"],
}
TRAIN = ("fair_supervised", "fair_unsupervised", "own_documents", "pooling_and_attention")
TRAIN += ("trained",)


def made(experiment, folder, base, *more):
    """Run an experiment, cut short, in `folder`; the records it leaves."""
    given = [f"experiment={experiment}", *FEWER[experiment], "model.dtype=float32", *more]
    verb = "evaluate"
    (folder / "corpus.txt").write_text("\n".join(f"a text of {n}" for n in range(99)))
    if experiment in TRAIN:
        verb, mirror = "train", next(word for word in base if word.startswith("mirror="))
        data = [f"data.sources.mine.path={pairs(folder)}", "data=file", "data.compare_with=[]"]
        base = ["model=tiny", "runs=runs", mirror, *data]
        base += ["evaluate.names=[STS12]", "evaluate.splits=null", "evaluate.subsets=null"]
        base += ["recipe.steps=3", "recipe.batch_size=8"]
        if experiment == "own_documents":  # it makes its data
            base = [word for word in base if not word.startswith(("data", "recipe.batch_size"))]
            base += ["recipe.batch_size=4"]
            write_docs(folder)
        if experiment == "fair_unsupervised":  # its own data are single texts
            base += ["data.sources.mine.columns={text:query}"]
    code, output = dec2vec(verb, *given, *base, *more, cwd=folder)
    assert code == 0, output
    return sorted([*folder.rglob("record/run.json"), *folder.rglob("adapters/*/training.json")])


def test_every_experiment_is_tried_here():
    assert set(FEWER) == set(list_choices("experiment"))


@pytest.mark.parametrize("experiment", sorted(FEWER))
def test_a_record_of_every_experiment_is_rerun(experiment, tmp_path, base, monkeypatch):
    monkeypatch.chdir(tmp_path)  # records name adapters and mirrors from where the command ran
    records = made(experiment, tmp_path, base)
    before = {file: file.read_bytes() for file in records}
    assert {file.name for file in records} >= (
        {"run.json", "training.json"} if experiment in TRAIN else {"run.json"}
    )
    for number, file in enumerate(records[:2] + records[-1:]):
        report = rerun(file, runs=tmp_path / f"again{number}")
        assert report.agrees, report.lines
        differ = [line for line in report.lines if " then, " in line and "loss" not in line]
        assert not differ, differ
    assert before == {file: file.read_bytes() for file in records}


def one_record(tmp_path, base):
    return made("sts", tmp_path, base)[0]


def test_other_data_versions_and_scores_are_reported_and_end_with_status_1(tmp_path, base):
    file = one_record(tmp_path, base)
    record = json.loads(file.read_text())
    record["versions"]["torch"] = "1.0"
    names = {entry["derived_from"]: name for name, entry in record["tasks"].items()}
    record["tasks"][names["STS12"]]["data"] = "0123"
    file.write_text(json.dumps(record))
    result = file.parent.parent / f"{names['STS13']}.json"
    scores = json.loads(result.read_text())
    scores["scores"]["test"][0]["main_score"] += 0.01
    result.write_text(json.dumps(scores))
    code, output = dec2vec("rerun", str(file), "--runs", "again", cwd=tmp_path)
    assert (
        code == 1
        and "torch: 1.0 then, " in output
        and f"data of {names['STS12']}: 0123 then, " in output
    )
    assert "-1.000" in output and "MORE THAN the tolerance of 0.05" in output
    assert json.loads(file.read_text()) == record  # the record is left as it is
    (again_,) = (tmp_path / "again").rglob("run.json")
    assert json.loads(again_.read_text())["command"] == record["command"]


def test_a_record_of_a_dtype_that_the_machine_lacks_asks_for_float32(tmp_path, base, monkeypatch):
    file = one_record(tmp_path, base)
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "dtype": "bfloat16"}))
    monkeypatch.setattr(remake, "resolve_dtype", lambda *_: "float32")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"in bfloat16.*give model.dtype=float32.*about 1.5 poin"):
        rerun(file, runs=tmp_path / "again")
    report = rerun(file, overrides=["model.dtype=float32"], runs=tmp_path / "again")
    assert "dtype: bfloat16 then, float32 now" in report.lines and report.agrees
    assert "tolerance of 1.5" in report.lines[-1]


def test_a_plugins_record_is_rerun_with_its_folder(tmp_path, base):
    from tests.cli.test_evaluate import write_readme_files

    write_readme_files(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    given = ["--config-dir", "mine", "method=shout", "model.dtype=float32", *base]
    code, output = dec2vec("evaluate", *given, cwd=tmp_path)
    assert code == 0, output
    (file,) = tmp_path.rglob("run.json")
    code, output = dec2vec("rerun", str(file), cwd=tmp_path)
    assert code == 0 and "largest difference 0.0000" in output, output
    shutil.move(tmp_path / "mine", tmp_path / "moved")
    code, output = dec2vec("rerun", str(file), "--config-dir", "moved", cwd=tmp_path)
    assert code == 0 and "largest difference 0.0000" in output, output


def test_what_cannot_be_rerun_is_an_error_of_one_line(tmp_path, base):
    file = one_record(tmp_path, base)
    record = json.loads(file.read_text())
    cases = [
        ([], "nothing is no record: give a run.json"),
        (["nowhere"], "nowhere is no record: give a run.json"),
        ([str(file), "method=echo"], "'method=echo' cannot be changed in a rerun; valid: mirror"),
        ([str(file), "mirror=gone"], "gone is no folder"),
    ]
    for name, changed, message in (
        ("lacks", {"adapters": ["runs/gone"]}, "with the adapter runs/gone, which is not here"),
        ("empty", {"tasks": {}}, "has no finished task"),
    ):
        shutil.copytree(file.parent.parent, tmp_path / name)
        copied = tmp_path / name / "record" / "run.json"
        copied.write_text(json.dumps({**record, **changed}))
        cases.append(([name], message))
    (tmp_path / "other.json").write_text('{"a": 1}')
    cases.append((["other.json"], "other.json is no record that can be rerun: it lacks command"))
    for given, message in cases:
        code, output = dec2vec("rerun", *given, cwd=tmp_path)
        assert code == 1 and message in output and output.count("\n") == 1, output
