"""How a training is run: what stops it, what it goes on from, several processes."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from methods.evaluation.config import compose
from methods.training.trainer import NotFinite
from tests.training.test_job import weights


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(train):
    job = train("recipe.steps=20", "recipe.learning_rate=1e30", "run.every=1", "recipe.warmup=0.5")
    with pytest.raises(NotFinite, match=r"the loss of step \d+ is nan.*checkpoint-\d+ is kept"):
        job.run()
    kept = sorted((job.folder / "checkpoints").glob("checkpoint-*"))
    assert kept and all(torch.isfinite(t).all() for t in weights(kept[0]).values())


def test_a_full_disk_names_the_folder_and_leaves_no_half_checkpoint(train, monkeypatch):
    from methods.training import trainer

    def full(*_):
        raise OSError(28, "No space left on device")

    job = train("run.every=2")
    monkeypatch.setattr(trainer, "save_trained", full)
    with pytest.raises(OSError, match="checkpoint-2 cannot be written to .*No space left"):
        job.run()
    assert not list((job.folder / "checkpoints").glob("checkpoint-*"))


def test_a_disk_that_is_full_at_the_end_leaves_no_finished_training(train, monkeypatch, caplog):
    from methods.training import curve
    from methods.training import job as module

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    undisturbed = train("run.every=2", out="undisturbed").run()
    job = train("run.every=2")
    monkeypatch.setattr(module.TrainJob, "_keep", full)
    monkeypatch.setattr(curve.Curve, "_draw", full)
    with pytest.raises(OSError, match="adapter cannot be written: .*goes on from the last checkp"):
        job.run()
    assert "no curve in" in caplog.text and not (job.folder / "training.json").exists()
    monkeypatch.undo()
    train("run.every=2").run()
    assert json.loads((job.folder / "training.json").read_text())["steps"] == 6
    one, other = weights(undisturbed), weights(job.folder)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (job.folder / "loss.png").is_file()


def test_validation_keeps_the_best_and_refuses_the_test_split(train, monkeypatch):
    from methods.training import job as module

    scores = iter([0.1, 0.9, 0.3])
    monkeypatch.setattr(module.validation, "Validation", lambda *_: lambda: next(scores))
    given = ["run.every=2", "run.validate.names=[DemoLee]"]
    folder = train(*given).run()
    said = json.loads((folder / "training.json").read_text())
    assert said["best"] == {"step": 4, "score": 0.9}
    monkeypatch.undo()
    with pytest.raises(ValueError, match="would be validated on its test split"):
        train(*given, out="other").run()


@pytest.mark.parametrize(("before", "rows"), [("true", [False, True]), ("false", [True])])
def test_what_is_scored_before_training_is_a_choice(train, monkeypatch, before, rows):
    from methods.training import config as module

    job, scored = train("method=sgpt", "evaluate.names=[DemoLee]"), []

    class Scored:
        def __init__(self, *, plan, **_):
            scored.append(bool(plan.spec.adapters))

        def run(self):
            """Nothing."""

    monkeypatch.setattr(module, "Job", Scored)
    given = [*job.overrides, f"evaluate.before={before}"]
    module.score(job, job.run(), compose(given, verb="train"), name="sgpt")
    assert scored == rows


COMMAND = [sys.executable, "-m", "methods.cli", "train", "model=tiny", "model.dtype=float32"]


def launched(pairs, out, *more, command=COMMAND):
    given = [
        "recipe=demo",
        "data=file",
        f"data.sources.mine.path={pairs}",
        "recipe.batch_size=8",
        f"runs={out.parent}",
        f"out={out}",
        *more,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *given], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_a_killed_training_goes_on_to_the_same_weights(pairs, tmp_path):
    more = ["recipe.steps=300", "run.every=20", "recipe.trainable.dropout=0.1"]
    whole = launched(pairs, tmp_path / "whole", *more)
    killed = launched(pairs, tmp_path / "killed", *more)
    checkpoints = tmp_path / "killed" / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("checkpoint-*/trainer_state.json")):
        assert killed.poll() is None and time.monotonic() < deadline, killed.stdout.read().decode()
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "training.json").exists()
    again = launched(pairs, tmp_path / "killed", *more)
    for process in (whole, again):
        assert process.wait() == 0, process.stdout.read().decode()
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    tokens, again = (
        json.loads((tmp_path / name / "training.json").read_text())["tokens"]
        for name in ("whole", "killed")
    )
    assert tokens <= again < tokens * 1.02  # a batch was at hand when it was killed


def test_two_processes_have_the_loss_of_one(pairs, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    both = launched(pairs, tmp_path / "two", "recipe.steps=4", command=[*torchrun, *COMMAND[1:]])
    alone = launched(pairs, tmp_path / "one", "recipe.steps=4")
    for process in (both, alone):
        assert process.wait() == 0, process.stdout.read().decode()
    one, two = (pd.read_csv(tmp_path / name / "loss.csv") for name in ("one", "two"))
    assert np.allclose(one["loss"], two["loss"], rtol=1e-4)
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(first[name], second[name], atol=1e-4) for name in first)
