"""A folder is resumed by the training that made it, and by no other."""

import json
import warnings
from pathlib import Path

import pytest

from methods.training import job as module
from methods.training.stored_settings import describe_settings

OTHER = [
    (["recipe.learning_rate=7e-4"], "recipe.learning_rate is 0.0005 there, 0.0007 requested"),
    (["method=sgpt", "method.max_length=9"], "method.max_length is 2048 there, 9 requested"),
    (["method=echo"], "method.class is methods.sgpt.SGPT there, methods.echo.Echo requested"),
    (["run.seed=7"], "run.seed is 42 there, 7 requested"),
    (["model.source.seed=9"], "model.weights is random"),
    (["data.sources.mine.instruction=Look"], "data.sources.mine.instruction is Find it there"),
]


@pytest.mark.parametrize("old", [False, True])
def test_a_finished_folder_refuses_other_settings(train, old, caplog):
    folder = train().run()
    if old:  # made before asked.json was written
        (folder / "asked.json").unlink()
    for more, message in OTHER[:-1] if old else OTHER:
        with pytest.raises(ValueError, match=f"is a finished training with other .*{message}"):
            train(*more).run()
    caplog.set_level("INFO")
    assert train("run.every=3", "kernel.packed=false").run() == folder
    assert "trained already" in caplog.text
    assert old or "run.every is 50 there, 3 requested; the same is learnt" in caplog.text


def test_a_folder_that_states_nothing_or_lost_its_weights_is_not_finished(train):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # none of another library reaches the user
        folder = train().run()
    for content, message in [
        ("{", "asked.json cannot be read"),
        ("[]", "asked.json holds list"),
        ("{}", "asked.json states no settings"),
    ]:
        asked = (folder / "asked.json").read_text()
        (folder / "asked.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            train().run()
        (folder / "asked.json").write_text(asked)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match="finished training without its weights"):
        train().run()


def test_an_interrupted_folder_refuses_other_settings(train, pairs, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.TrainJob, "_finish", stop)
    with pytest.raises(KeyboardInterrupt):
        train("run.every=2").run()
    for more, message in OTHER[:2]:
        with pytest.raises(
            ValueError, match=f"holds checkpoint-6 with other settings: .*{message}"
        ):
            train("run.every=2", *more).run()
    rows = Path(pairs).read_text()
    Path(pairs).write_text(rows.replace("cat", "cow"))
    with pytest.raises(ValueError, match="data.sources.mine.files is .* there"):
        train("run.every=2").run()
    Path(pairs).write_text(rows)
    monkeypatch.undo()
    folder = train("run.every=3").run()
    assert json.loads((folder / "training.json").read_text())["steps"] == 6


def test_the_same_rows_under_another_path_are_the_same_training(train, pairs, tmp_path):
    moved = tmp_path / "it's moved.jsonl"
    moved.write_text(Path(pairs).read_text())
    job = train()
    one, other = describe_settings(job), describe_settings(train("data.sources.mine.limit=64"))
    assert one["decides"] != other["decides"]
    job.data.sources["mine"].__dict__["path"] = str(moved)
    assert describe_settings(job)["decides"] == one["decides"]


def test_a_folder_of_something_else_is_not_overwritten(train, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds adapter_config.json of something else"):
        train().run()


def test_an_edited_file_has_another_default_folder(train, pairs):
    before = train("out=null").folder
    assert train("out=null").folder == before
    Path(pairs).write_text(Path(pairs).read_text().replace("cat", "cow"))
    assert train("out=null").folder != before
