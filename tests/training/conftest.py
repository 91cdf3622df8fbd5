"""A training on the tiny random model, from pairs made up here."""

import json

import pytest

from methods.config.resolve import compose
from methods.training.config import build_train_job
from methods.training.job import TrainJob

WORDS = "cat dog sun moon tree car ship road blue red slow fast one two".split()


@pytest.fixture
def pairs(tmp_path):
    """A file of 64 pairs with a negative; the positive repeats the query's words."""
    file = tmp_path / "pairs.jsonl"
    rows = []
    for number in range(64):
        own = [WORDS[(number * step + step) % len(WORDS)] for step in (1, 3, 5)]
        text = f"{' '.join(own)} {number}"
        rows.append({"query": text, "positive": f"so {text}", "negative": f"no {number}"})
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


@pytest.fixture
def train(tmp_path, pairs):
    """A training by overrides; its job."""

    def make(*overrides, recipe="demo", out="adapter", path=pairs):
        given = [
            "model=tiny",
            "model.dtype=float32",
            f"recipe={recipe}",
            "data=file",
            f"data.sources.mine.path={path}",
            "data.sources.mine.symmetric=true",
            "data.sources.mine.instruction=Find it",
            "recipe.steps=6",
            "recipe.batch_size=8",
            f"out={tmp_path / out}",
            *overrides,
        ]
        return build_train_job(compose(given, verb="train"), title=recipe, overrides=given)

    return make


@pytest.fixture
def prepared(monkeypatch):
    """What every training of a test loaded and trained, in order."""
    found, plain = [], TrainJob.prepare

    def prepare(self):
        found.append(plain(self))
        return found[-1]

    monkeypatch.setattr(TrainJob, "prepare", prepare)
    return found
