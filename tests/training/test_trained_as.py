"""What was trained is read as it was trained, an adapter and a whole model alike."""

import json
import shutil

import pytest

from methods import load_encoder
from methods.evaluation.config import compose, plan
from methods.evaluation.job import Job
from methods.evaluation.tasks import TaskList

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
def test_a_folder_is_read_as_it_was_trained(folders, kind, tmp_path):
    folder = folders(kind)
    given = asked_for(kind, folder)
    (cell,) = plan(compose(given), name="sgpt", asked=given).cells
    assert (cell.max_length, cell.template) == (12, "brackets")

    how = {"dtype": "float32", "cache": None}
    how |= {"model": "tiny", "adapter": folder} if kind == "adapter" else {"model": folder}
    encoder = load_encoder("sgpt", **how)
    assert (encoder.method.max_length, encoder.method.template) == (12, "brackets")
    other = load_encoder("sgpt", **how, max_length=2048, template="plain")
    assert (other.method.max_length, other.method.template) == (2048, "plain")
    assert abs(encoder.encode(TEXTS) - other.encode(TEXTS)).max() > 1e-3

    given = asked_for(kind, folder, "method.max_length=2048")
    resolved = plan(compose(given), name="sgpt", asked=given)
    job = Job(resolved, TaskList(names=["DemoWordSTS"]), tmp_path / "runs")
    about = job._about(job.cells[0])
    assert about.trained_as == {"max_length": [12, 2048]}
    (cell,) = resolved.cells
    assert (cell.max_length, cell.template) == (2048, "brackets")


def test_the_last_adapter_of_a_chain_says_how_it_is_read(train):
    first = str(train(*OTHERWISE, "recipe.steps=1", out="first").run())
    more = ["method=sgpt", "method.max_length=20", "recipe.steps=1", f"adapter={first}"]
    second = str(train(*more, out="second").run())
    for chain, length in (([first, second], 20), (second, 20), ([second, first], 12)):
        encoder = load_encoder(None, model="tiny", dtype="float32", cache=None, adapter=chain)
        assert type(encoder.method).__name__ == "SGPT" and encoder.method.max_length == length


def test_another_programs_training_json_is_left_alone(train, tmp_path):
    adapter = tmp_path / "theirs"
    shutil.copytree(train(*OTHERWISE, "recipe.steps=1").run(), adapter)
    for content in ({"method": "contrastive"}, {"method": {"name": "x"}}, {"name": "x"}):
        (adapter / "training.json").write_text(json.dumps(content))
        given = asked_for("adapter", adapter)
        (cell,) = plan(compose(given), name="sgpt", asked=given).cells
        assert (cell.max_length, cell.template) == (2048, "plain")
