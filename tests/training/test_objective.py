"""A training objective is one file and one recipe, inside the repository or outside of it."""

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from methods import load_encoder
from methods.config.resolve import compose
from methods.training import data
from methods.training.config import build_train_job
from methods.training.objective import BUILT_IN, build_objective
from tests.cli.test_evaluate import dec2vec
from tests.cli.test_train import arguments
from tests.command import ROOT

TEXTS = ["a cat on a road", "two ships", "one slow blue tree under the moon"]
# Everything of its own: rows of text, a new token, a trainer, a loss with a parameter.
TOY = '''
from dataclasses import dataclass

import torch
from datasets import concatenate_datasets
from torch import nn
from transformers import Trainer, TrainingArguments

from methods.base import Inputs
from methods.training.module import MethodModule, pad
from methods.training.objective import Objective
from methods.training.trainer import TrainerExtensions


class Collator:
    def __init__(self, setup):
        self.method, self.tokenizer, self.tokens = setup.method, setup.backbone.tokenizer, 0

    def __call__(self, rows):
        inputs = self.method.prepare_inputs([r["text"] for r in rows], tokenizer=self.tokenizer)
        self.tokens += sum(map(len, inputs.ids))
        return pad(inputs)


class Length(nn.Module):
    """Squared distance of a vector's length to one that is learnt."""

    def __init__(self, module, wanted):
        super().__init__()
        self.module = module
        self.wanted = nn.Parameter(torch.tensor(wanted))

    def forward(self, **features):
        vectors = self.module(features)["sentence_embedding"]
        return {"loss": ((vectors.norm(dim=1) - self.wanted) ** 2).mean()}


class LengthTrainer(TrainerExtensions, Trainer):
    """transformers' trainer."""


@dataclass(frozen=True, kw_only=True)
class UnitLength(Objective):
    wanted: float = 1.0
    reads = "texts"

    def check(self, recipe):
        if recipe.symmetric:
            raise ValueError("UnitLength has no direction; leave recipe.symmetric out")

    def new_tokens(self, recipe, tokenizer):
        return ("<length>",)

    def build_trainer(self, setup, rows):
        texts = concatenate_datasets(list(rows.values()))
        module = MethodModule(setup.backbone, setup.method, setup.trained, packed=setup.packed)
        return LengthTrainer(
            **setup.trainer_options(TrainingArguments, num_rows=len(texts)),
            model=Length(module, self.wanted),
            train_dataset=texts,
            data_collator=Collator(setup),
        )
'''


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """A module outside the repository, by name and source."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        sys.modules.pop(name, None)

    return write


def write_readme_objective(folder):
    """Write the two files of "Add a training objective" as they stand in the README."""
    readme = (ROOT / "methods" / "training" / "README.md").read_text()
    for block in re.findall(r"^```(?:python|yaml)\n(.+?)^```", readme, re.S | re.M):
        if named := re.search(r"^# (mine/(?:triplet.py|recipe/\S+))$", block, re.M):
            file = folder / named[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block)


def test_the_readmes_objective_is_trained_by_its_command_and_its_adapter_loads(tmp_path):
    write_readme_objective(tmp_path)
    made = sorted(path.name for path in (tmp_path / "mine").rglob("*.*"))
    assert made == ["triplet.py", "triplet.yaml"]
    given = ["--config-dir", "mine", "recipe=triplet", "recipe.objective.margin=0.7"]
    given = arguments(tmp_path, *given, "recipe.learning_rate=1e-2")
    code, output = dec2vec("train", *given, cwd=tmp_path)
    assert code == 0, output
    (file,) = (tmp_path / "runs" / "adapters").glob("triplet_*/training.json")
    recorded = json.loads(file.read_text())
    objective = {"_target_": "triplet.Triplet", "margin": 0.7}
    assert recorded["recipe"]["objective"] == objective and recorded["steps"] == 3
    asked = json.loads((file.parent / "asked.json").read_text())
    assert asked["decides"]["objective"]["code"]
    losses = pd.read_csv(file.parent / "loss.csv")["loss"]
    assert 0 < losses.iloc[0] < 1.5  # cosine distances apart by 0.7, and not a cross-entropy
    how = {"model": "tiny", "dtype": "float32", "cache": None}
    trained = load_encoder(adapter=str(file.parent), **how).encode(TEXTS)
    assert not np.allclose(trained, load_encoder("sgpt", **how).encode(TEXTS), atol=1e-3)


def test_an_objective_may_bring_rows_tokens_and_a_trainer_of_its_own(train, importable):
    importable("toy_length", TOY)
    more = ["recipe.objective=toy_length.UnitLength", "data.sources.mine.columns.text=query"]
    job = train("method=sgpt", *more, "recipe.steps=2", "recipe.learning_rate=1e-2")
    folder = job.run()
    assert (pd.read_csv(folder / "loss.csv")["loss"] > 0).all()
    tensors = load_file(folder / "adapter_model.safetensors")
    assert any("token_adapter" in name or "trainable_tokens" in name for name in tensors)
    encoder = load_encoder(adapter=str(folder), model="tiny", dtype="float32", cache=None)
    assert "<length>" in encoder.backbone.tokenizer.get_vocab()
    assert np.isfinite(encoder.encode(TEXTS)).all()
    with pytest.raises(ValueError, match="UnitLength has no direction"):
        train(*more, "recipe.symmetric=true")


def test_a_losss_own_parameters_are_in_its_checkpoints(train, importable):
    source = """
from dataclasses import dataclass
from torch import nn
import torch
from methods.training.contrastive import Contrastive

class Scaled(nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.model, self.inner = loss.model, loss
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, features, labels):
        return self.factor * self.inner(features, labels)

@dataclass(frozen=True, kw_only=True)
class Learnt(Contrastive):
    def build_loss(self, setup, model):
        return Scaled(super().build_loss(setup, model))
"""
    importable("toy_scaled", source)
    more = ["recipe.objective=toy_scaled.Learnt", "recipe.steps=4", "run.every=2", "run.keep=9"]
    job, state = train(*more), {}
    rows = data.load(job.data, texts_only=False, negatives=1, seed=0).rows
    job.build_trainer(job.prepare(), rows).train()
    for step in (2, 4):
        place = job.folder / "checkpoints" / f"checkpoint-{step}" / "loss.safetensors"
        state[step] = load_file(place)
    assert [list(one) for one in state.values()] == [["factor"]] * 2
    assert 2.0 != state[2]["factor"].item() != state[4]["factor"].item()


def test_an_edited_objective_is_another_training(train, importable):
    importable("toy_edited", TOY)
    more = ["recipe.objective=toy_edited.UnitLength", "data.sources.mine.columns.text=query"]
    more += ["recipe.steps=1"]
    default = train(*more, "out=null").folder
    train(*more).run()
    importable("toy_edited", TOY.replace("** 2", "** 4"))
    assert train(*more, "out=null").folder != default
    with pytest.raises(ValueError, match="finished training with other settings: objective.code"):
        train(*more).run()


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_short_name_is_its_class(name):
    assert build_objective(name) == build_objective({"_target_": BUILT_IN[name]})


BAD = [
    ("mtnp", "'mtnp' is unknown; valid: contrastive, mntp; did you mean mntp. One of your own is"),
    (
        "toy_bad.Lost",
        "toy_bad.Lost cannot be imported: module 'toy_bad' has no.*valid: contrastive",
    ),
    ("nowhere.Lost", "nowhere.Lost cannot be imported: No module named 'nowhere'.*--config-dir"),
    ("methods.sgpt.SGPT", "SGPT is no methods.training.objective.Objective; derive it from"),
    ("toy_bad.Half", "toy_bad.Half lacks build_trainer"),
    ("toy_bad.Odd", "toy_bad.Odd.reads is 'triples'; valid: pairs, texts"),
    ("{margin: 1}", r"recipe.objective names no class \(_target_\); valid: contrastive, mntp"),
    ("{_target_: contrastive, margin: 1}", "recipe.objective.margin: Contrastive has no margin"),
    ("{_target_: toy_bad.Odd, size: big}", "reads is 'triples'"),
    ("{_target_: toy_bad.Even, size: big}", "recipe.objective.size 'big' is not valid; it takes"),
    ("null", "recipe.objective null is not valid; it takes text, a mapping"),
]
SOURCE = """
from dataclasses import dataclass
from methods.training.objective import Objective

class Half(Objective):
    reads = "pairs"

@dataclass(frozen=True, kw_only=True)
class Odd(Objective):
    size: int = 1
    reads = "triples"
    def build_trainer(self, setup, rows):
        pass

class Even(Odd):
    reads = "texts"
"""


@pytest.mark.parametrize(("value", "expected"), BAD)
def test_an_objective_that_cannot_be_is_an_error_before_anything_loads(importable, value, expected):
    importable("toy_bad", SOURCE)
    given = ["recipe=demo", "model=tiny", f"recipe.objective={value}"]
    with pytest.raises(ValueError, match=expected):
        build_train_job(compose(given, verb="train"), title="demo", overrides=given)


def test_a_recipe_outside_of_its_package_is_an_error_that_names_the_line():
    config = compose(["recipe=demo", "model=tiny", "+recipe.recipe={steps: 3}"], verb="train")
    with pytest.raises(ValueError, match="first line is `# @package _global_`"):
        build_train_job(config, title="demo", overrides=[])
