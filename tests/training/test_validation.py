"""The score that chooses a checkpoint is the score of that checkpoint as it is evaluated."""

import json

import mteb
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskSTS

from methods import load_encoder
from methods.config.settings import TaskList
from methods.encoding.encoder import Encoder
from methods.evaluation import own_task
from methods.evaluation import tasks as task_module
from methods.evaluation.demo_tasks import make_metadata
from methods.training import validation
from methods.training.stored_settings import describe_settings
from methods.training.trainer import TrainerExtensions
from tests.evaluation.own_files import write_pairs

SENTENCES = ["a cat on a road", "two ships", "one red moon", "slow blue trees", "a fast car"]


class ToyChoice(AbsTaskSTS):
    """Pairs to choose a checkpoint on, in a split that is not the test split."""

    metadata = make_metadata(
        "ToyChoice", "STS", "cosine_spearman", "Find it", "toy", "https://x.org"
    )

    def load_data(self, num_proc=None, **kwargs):
        pairs = [(a, b) for a in SENTENCES for b in SENTENCES if a < b]
        data = {
            "sentence1": [a for a, _ in pairs],
            "sentence2": [b for _, b in pairs],
            "score": [float(7 * place % 10) for place in range(len(pairs))],
        }
        rows = Dataset.from_dict(data)
        self.dataset = {"default": DatasetDict({"validation": rows, "test": rows})}
        self.data_loaded = True


@pytest.fixture
def choosing(monkeypatch):
    """The overrides of a training that chooses its checkpoint on the toy task."""
    find = task_module._get_task
    monkeypatch.setattr(
        task_module, "_get_task", lambda n: ToyChoice() if n == "ToyChoice" else find(n)
    )
    return ["run.validate.names=[ToyChoice]", "run.validate.splits={ToyChoice:[validation]}"]


def score(encoder):
    task = ToyChoice()
    task.filter_eval_splits(["validation"])
    result = mteb.evaluate(encoder, task, cache=None, co2_tracker=False, show_progress_bar=False)
    return result.task_results[0].get_score()


@pytest.mark.parametrize("method", ["sgpt", "llm2vec"])
def test_a_checkpoint_is_chosen_by_what_its_adapter_scores(train, choosing, monkeypatch, method):
    """With dropout in training, adapters attached, and vectors that change from one to the next."""
    kept, plain = {}, validation.Validation.__call__

    def recorded(self):
        found = plain(self)
        assert not any(part.training for part in self.backbone.model.modules())
        assert found == score(Encoder(self.backbone, self.method))  # twice the same: no dropout
        kept[len(kept)] = found
        return found

    monkeypatch.setattr(validation.Validation, "__call__", recorded)
    more = ["recipe.learning_rate=3e-2", "recipe.trainable.dropout=0.3", "run.every=2"]
    job = train(f"method={method}", *choosing, *more)
    folder = job.run()
    assert len(set(kept.values())) == 3  # of steps 2, 4 and 6
    best = max(kept, key=lambda at: kept[at])
    output = json.loads((folder / "training.json").read_text())
    assert output["best"] == {"step": 2 * (best + 1), "score": kept[best]}
    curve = pd.read_csv(folder / "loss.csv")
    assert curve["loss"].notna().sum() == 6
    for wanted, adapter in ((True, str(folder)), (False, None)):
        encoder = load_encoder(method, model="tiny", dtype="float32", adapter=adapter)
        assert (abs(score(encoder) - kept[best]) < 1e-6) == wanted


def test_a_checkpoint_is_chosen_on_a_file_of_the_users(train, tmp_path):
    file = write_pairs(tmp_path, "dev.csv")
    given = f"run.validate.own=[{{path: {file}, split: validation}}]"
    with pytest.raises(
        ValueError, match="dev would be validated on its test split.*path: PATH, sp"
    ):
        train(given.replace(", split: validation", ""))
    with pytest.raises(ValueError, match="there is no gone.csv"):
        train("run.validate.own=[gone.csv]")
    folder = train(given, "run.every=2").run()
    encoder = load_encoder("sgpt", model="tiny", dtype="float32", adapter=str(folder))
    task = own_task(file, split="validation")
    found = mteb.evaluate(encoder, task, cache=None, co2_tracker=False, show_progress_bar=False)
    best = json.loads((folder / "training.json").read_text())["best"]
    assert best["score"] == pytest.approx(found.task_results[0].get_score(), abs=1e-6)
    assert train(given, "run.every=2").run() == folder
    names = {train(given, "run.every=2", "out=null").folder}
    file.write_text(file.read_text().replace("a dog", "a fox"))
    assert train(given, "run.every=2", "out=null").folder not in names
    with pytest.raises(ValueError, match="finished training with other settings: run.validate.own"):
        train(given, "run.every=2").run()


def test_settings_without_data_of_ones_own_are_what_they_were(train):
    """The digest of a training's folder is made of them."""
    wanted = TaskList(names=["STS12"], splits={"STS12": ["validation"]})
    assert repr(wanted) == (
        "TaskList(names=['STS12'], benchmark=None, splits={'STS12': ['validation']}, subsets={}, "
        "mirror=None)"
    )
    job = train("run.validate.names=[DemoLee]")
    assert "own" not in describe_settings(job)["decides"]["run"]["validate"]


@pytest.mark.parametrize("kind", ["added_bias", "lora", "full"])
def test_a_model_in_half_precision_is_validated_as_it_is_trained(train, choosing, kind):
    """Its trained parts are float32 beside weights in bfloat16."""
    more = [f"recipe.trainable.kind={kind}", "model.dtype=bfloat16", "run.every=2"]
    folder = train("method=sgpt", *choosing, *more).run()
    assert json.loads((folder / "training.json").read_text())["best"]["step"] in (2, 4, 6)


def test_nothing_that_is_scored_changes_what_is_learnt(train, choosing, monkeypatch):
    """The same steps with and without validation, each with the model in training mode."""
    losses, modes, plain = {}, [], TrainerExtensions.training_step

    def watched(self, model, *args, **kwargs):
        modes.append(model.training)
        return plain(self, model, *args, **kwargs)

    monkeypatch.setattr(TrainerExtensions, "training_step", watched)
    for name, more in (("scored", choosing), ("alone", [])):
        job = train("method=sgpt", *more, "run.every=2", out=name)
        losses[name] = pd.read_csv(job.run() / "loss.csv")["loss"].dropna().tolist()
    assert losses["scored"] == losses["alone"] and len(losses["alone"]) == 6
    assert modes == [True] * 12


def test_dropout_is_the_same_with_validation_and_without(train, choosing):
    """mteb seeds torch anew for a task; random draws of training continue as without it."""
    more = ["recipe.trainable.dropout=0.3", "run.every=2"]
    losses = [
        pd.read_csv(train(*more, *chosen, out=out).run() / "loss.csv")["loss"].dropna().tolist()
        for out, chosen in (("without", []), ("with", choosing))
    ]
    assert len(losses[0]) == 6 and losses[0] == losses[1]
