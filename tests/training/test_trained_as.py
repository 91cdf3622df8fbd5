"""What was trained is evaluated as it was trained, an adapter and a whole model alike."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from methods import load_encoder
from methods.cli.jobs import add_trained_method
from methods.config.resolve import compose, resolve_evaluation
from methods.config.settings import TaskList
from methods.config.trained_as import find_method_name
from methods.evaluation.job import Job
from tests.cli.test_evaluate import dec2vec
from tests.cli.test_train import arguments

OTHERWISE = ["method=sgpt", "method.max_length=12", "method.template=brackets"]
TEXTS = ["a text that is longer than twelve bytes"]


@pytest.fixture
def folders(train):
    """An adapter and a whole model, trained with another length and template than SGPT's own."""

    def make(kind):
        more = ["recipe.trainable.kind=full"] if kind == "model" else []
        return str(train(*OTHERWISE, *more, "recipe.steps=1", out=kind).run())

    return make


def asked_for(kind, folder, *more):
    """The overrides of an evaluation of what was trained."""
    own = [f"adapter={folder}", "model=tiny"]
    whole = ["model=folder", f"model.source.path={folder}"]
    return ["method=sgpt", "model.dtype=float32", *(own if kind == "adapter" else whole), *more]


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_a_folder_is_evaluated_as_it_was_trained(folders, kind, tmp_path):
    folder = folders(kind)
    given = asked_for(kind, folder)
    (cell,) = resolve_evaluation(compose(given), name="sgpt", overrides=given).cells
    assert (cell.max_length, cell.template) == (12, "brackets")

    how = {"dtype": "float32", "cache": None}
    how |= {"model": "tiny", "adapter": folder} if kind == "adapter" else {"model": folder}
    encoder = load_encoder("sgpt", **how)
    assert (encoder.method.max_length, encoder.method.template) == (12, "brackets")
    other = load_encoder("sgpt", **how, max_length=2048, template="plain")
    assert (other.method.max_length, other.method.template) == (2048, "plain")
    assert abs(encoder.encode(TEXTS) - other.encode(TEXTS)).max() > 1e-3

    given = asked_for(kind, folder, "method.max_length=2048")
    resolved = resolve_evaluation(compose(given), name="sgpt", overrides=given)
    job = Job(resolved, TaskList(names=["DemoWordSTS"]), tmp_path / "runs")
    about = job._make_header(job.cells[0])
    assert about.trained_as == {"max_length": [12, 2048]}
    (cell,) = resolved.cells
    assert (cell.max_length, cell.template) == (2048, "brackets")


def test_the_last_adapter_of_a_stack_decides_how_it_is_evaluated(train):
    first = str(train(*OTHERWISE, "recipe.steps=1", out="first").run())
    more = ["method=sgpt", "method.max_length=20", "recipe.steps=1", f"adapter={first}"]
    second = str(train(*more, out="second").run())
    for chain, length in (([first, second], 20), (second, 20), ([second, first], 12)):
        encoder = load_encoder(None, model="tiny", dtype="float32", cache=None, adapter=chain)
        assert type(encoder.method).__name__ == "SGPT" and encoder.method.max_length == length
    paths = [Path(first), Path(second)]
    for given in (paths, tuple(paths), Path(second)):
        encoder = load_encoder(None, model="tiny", dtype="float32", cache=None, adapter=given)
        assert encoder.method.max_length == 20


def test_another_programs_training_json_is_left_alone(train, tmp_path):
    adapter = tmp_path / "theirs"
    shutil.copytree(train(*OTHERWISE, "recipe.steps=1").run(), adapter)
    theirs = ({"method": "contrastive"}, {"method": {"name": "x"}}, {"schema": "2.0", "base": "x"})
    for content in theirs:
        (adapter / "training.json").write_text(json.dumps(content))
        given = asked_for("adapter", adapter)
        (cell,) = resolve_evaluation(compose(given), name="sgpt", overrides=given).cells
        assert (cell.max_length, cell.template) == (2048, "plain")
        loaded = load_encoder("sgpt", model="tiny", cache=None, adapter=str(adapter))
        assert loaded.method.max_length == 2048


def test_an_adapter_brings_its_method(folders):
    folder = folders("adapter")
    words = add_trained_method(["model=tiny", f"adapter={folder}"], config_dir=None)
    assert words[0] == "method=sgpt" and find_method_name([folder]) == "sgpt"
    assert load_encoder(adapter=folder, model="tiny", cache=None).method.template == "brackets"
    words = [f"adapter={folder}", "method=echo"]
    assert add_trained_method(words, config_dir=None) == words


def test_another_method_than_was_trained_is_recorded(folders, tmp_path):
    given = ["method=echo", *asked_for("adapter", folders("adapter"))[1:]]
    job = Job(
        resolve_evaluation(compose(given), name="echo", overrides=given),
        TaskList(names=["DemoWordSTS"]),
        tmp_path / "runs",
    )
    about = job._make_header(job.cells[0])
    assert about.trained_as == {"class": ["methods.sgpt.SGPT", "methods.echo.Echo"]}


def test_a_folder_made_elsewhere_brings_no_method(train):
    adapter = train(*OTHERWISE, "recipe.steps=1").run()
    (adapter / "training.json").unlink()
    words = [f"adapter={adapter}"]
    assert add_trained_method(words, config_dir=None) == words
    with pytest.raises(ValueError, match="give a method, or an adapter that dec2vec train made"):
        load_encoder(adapter=str(adapter), model="tiny", dtype="float32", cache=None)


def test_adapters_of_several_methods_are_not_swept_as_one(train):
    one, other = train("method=sgpt", out="a").run(), train("method=echo", out="b").run()
    with pytest.raises(ValueError, match=r"several methods \(.*echo.*\); .*give method=NAME"):
        add_trained_method([f"adapter={one},{other}"], config_dir=None)


def test_the_line_that_train_ends_with_gives_the_score_it_printed(tmp_path):
    given = ["recipe=demo", "method=sgpt", "method.max_length=7", "evaluate.before=false"]
    given += ["evaluate.names=[DemoReuters]"]
    code, output = dec2vec("train", *arguments(tmp_path, *given), cwd=tmp_path)
    assert code == 0, output
    (printed,) = re.findall(r"DemoReuters, test: (\S+)", output)
    (line,) = re.findall(r"dec2vec evaluate .*", output)
    words = shlex.split(line)[1:]
    assert words[0] == "evaluate"
    code, output = dec2vec(*words, "runs=anew", "cache.folder=null", cwd=tmp_path)
    assert code == 0, output
    assert re.findall(r"DemoReuters, test: (\S+)", output) == [printed]
    records = [json.loads(file.read_text()) for file in tmp_path.rglob("record/run.json")]
    assert len(records) == 2 and {r["method_config"]["max_length"] for r in records} == {7}
    assert all(record["trained_as"] == {} for record in records)
