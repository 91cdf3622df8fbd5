"""An adapter is evaluated as it was trained, unless something else is asked for by name."""

import json
import re
import shlex

import pytest

from methods import load_encoder
from methods.cli.jobs import with_trained_method
from methods.evaluation.config import compose, plan
from methods.evaluation.job import Job
from methods.evaluation.settings import task_list
from methods.evaluation.trained_as import method_name
from tests.cli.test_evaluate import dec2vec
from tests.cli.test_train import arguments

MODEL = ["model=tiny", "model.dtype=float32"]


@pytest.fixture
def adapter(train):
    """A training whose method differs from its YAML in two fields."""
    return train("method=sgpt", "method.max_length=75", "method.template=brackets").run()


def planned(adapter, *words, name="sgpt"):
    words = [*words, *MODEL, f"adapter={adapter}"]
    return plan(compose([f"method={name}", *words]), name=name, asked=words)


def record_of(resolved, tmp_path):
    tasks = task_list({"names": ["DemoReuters"]}, key="tasks")
    job = Job(resolved, tasks, tmp_path / "runs")
    return job._about(job.cells[0])


def test_its_method_is_the_default_and_so_is_every_field(adapter, tmp_path):
    words = with_trained_method([*MODEL, f"adapter={adapter}"], config_dir=None)
    assert words[0] == "method=sgpt" and method_name([str(adapter)]) == "sgpt"
    resolved = planned(adapter)
    assert (resolved.cells[0].max_length, resolved.cells[0].template) == (75, "brackets")
    about = record_of(resolved, tmp_path)
    assert about.trained_as == {} and about.method_config["max_length"] == 75
    encoder = load_encoder(adapter=str(adapter), model="tiny", dtype="float32", cache=None)
    assert encoder.method == resolved.cells[0]


def test_what_is_asked_for_wins_and_is_recorded(adapter, tmp_path):
    resolved = planned(adapter, "method.max_length=9", "pooling=mean")
    assert (resolved.cells[0].max_length, resolved.cells[0].template) == (9, "brackets")
    about = record_of(resolved, tmp_path)
    assert about.trained_as == {
        "max_length": [75, 9],
        "pooling": ["weighted_mean", "mean"],
    }
    about = record_of(planned(adapter, name="echo"), tmp_path)
    assert about.trained_as == {"class": ["methods.sgpt.SGPT", "methods.echo.Echo"]}
    assert with_trained_method(["method=echo", f"adapter={adapter}"], config_dir=None)[0] != (
        "method=sgpt"
    )


def test_a_folder_made_elsewhere_brings_no_method(adapter, tmp_path):
    (adapter / "training.json").unlink()
    words = [f"adapter={adapter}"]
    assert with_trained_method(words, config_dir=None) == words
    with pytest.raises(ValueError, match="give a method, or an adapter that dec2vec train made"):
        load_encoder(adapter=str(adapter), model="tiny", dtype="float32", cache=None)


def test_adapters_of_several_methods_are_not_swept_as_one(train):
    one, other = train("method=sgpt", out="a").run(), train("method=echo", out="b").run()
    with pytest.raises(ValueError, match=r"several methods \(.*echo.*\); .*give method=NAME"):
        with_trained_method([f"adapter={one},{other}"], config_dir=None)


def test_the_line_that_train_ends_with_gives_the_score_it_printed(tmp_path):
    given = ["recipe=demo", "method=sgpt", "method.max_length=7", "evaluate.before=false"]
    given += ["evaluate.names=[DemoReuters]"]
    code, said = dec2vec("train", *arguments(tmp_path, *given), cwd=tmp_path)
    assert code == 0, said
    (printed,) = re.findall(r"DemoReuters, test: (\S+)", said)
    (line,) = re.findall(r"dec2vec evaluate .*", said)
    words = shlex.split(line)[1:]
    assert words[0] == "evaluate"
    code, said = dec2vec(*words, "runs=anew", "cache.folder=null", cwd=tmp_path)
    assert code == 0, said
    assert re.findall(r"DemoReuters, test: (\S+)", said) == [printed]
    records = [json.loads(file.read_text()) for file in tmp_path.rglob("record/run.json")]
    assert len(records) == 2 and {r["method_config"]["max_length"] for r in records} == {7}
    assert all(record["trained_as"] == {} for record in records)
