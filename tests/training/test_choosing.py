"""A learning rate is chosen by trials on a validation split, and by nothing else."""

import json

import pytest

from methods.config.resolve import compose
from methods.training.choosing import ChoiceSettings, Chosen, Trials, read_settings
from methods.training.config import build_train_job, score

SENTENCES = [
    ("a cat on a road", "a cat", 5),
    ("the sun is up", "a red car", 0),
    ("two ships", "one ship two", 3),
    ("a tree", "blue sun", 1),
]


@pytest.fixture
def choose(tmp_path, pairs):
    """Trials on one's own pairs with a score, for one seed."""
    dev = tmp_path / "dev"
    dev.mkdir()
    rows = "".join(f"{a},{b},{s}\n" for a, b, s in SENTENCES)
    (dev / "validation.csv").write_text("sentence1,sentence2,score\n" + rows)

    def make(*more, seed=1, build=build_train_job):
        given = [
            *("model=tiny", "model.dtype=float32", "recipe=demo", "data=file"),
            f"data.sources.mine.path={pairs}",
            *("recipe.steps=2", "recipe.batch_size=8", f"runs={tmp_path / 'runs'}"),
            "choose.learning_rates=[1e-3,1e-2]",
            *("choose.task=DemoLeeSmall", "choose.split=dev", f"run.seed={seed}"),
            *more,
        ]
        config = compose(given, verb="train")

        def build_job(config, overrides):
            return build(config, title="demo", overrides=overrides, name="sgpt")

        return Trials(config, given, read_settings(config), build_job)

    return make


@pytest.fixture
def scored(monkeypatch):
    """What trials are scored on; the second rate is the better one."""
    found = []

    def run(self):
        found.append((self.tasks, self.runs, self.overrides))
        rate = next(w for w in self.overrides if w.startswith("recipe.learning_rate="))
        return {"0.001": 0.4, "0.01": 0.6}[rate.partition("=")[2]]

    monkeypatch.setattr("methods.evaluation.job.Job.run", run)
    monkeypatch.setattr("methods.training.config._check_scored_tasks", lambda *_: None)
    return found


def test_the_best_rate_is_used_for_every_seed_and_trained_once(choose, scored, prepared, tmp_path):
    trials = choose()
    chosen = trials.choose()
    assert chosen.learning_rate == 0.01 and chosen.scores == {0.001: 0.4, 0.01: 0.6}
    assert len(prepared) == 2 and len(scored) == 2
    for tasks, runs, words in scored:
        assert (tasks.names, tasks.splits) == (["DemoLeeSmall"], {"DemoLeeSmall": ["dev"]})
        assert runs == tmp_path / "runs" / "trials"
        assert "choose.learning_rates=null" in words and "run.seed=1" in words
    job = trials.build_chosen(chosen)
    assert job.recipe.learning_rate == 0.01 and job.overrides == trials.overrides
    job.run()
    assert len(prepared) == 2  # the trial's adapter is the seed's
    # Another seed takes the same rate without a trial.
    other = choose(seed=2)
    assert other.find_chosen() == other.choose() == chosen
    assert len(scored) == 2
    second = other.build_chosen(chosen)
    assert second.folder != job.folder and second.run_options.seed == 2
    assert second.chosen["scores"] == {"0.001": 0.4, "0.01": 0.6}
    (file,) = (tmp_path / "runs" / "trials").glob("*.json")
    assert json.loads(file.read_text())["split"] == "dev"


def test_a_trials_record_holds_the_command_that_trains_it_alone(choose, scored):
    trials = choose()
    trials.choose()
    job = trials.build_trial(1e-3)
    record = json.loads((job.folder / "training.json").read_text())
    again = compose(job.overrides, verb="train")
    assert again.recipe.learning_rate == record["recipe"]["learning_rate"] == 0.001
    same = build_train_job(again, title="demo", overrides=job.overrides, name="sgpt")
    assert same.folder == job.folder and same.config == job.config


def test_other_rates_or_another_split_are_another_choice(choose, scored):
    choose().choose()
    assert choose().find_chosen() is not None
    assert choose("choose.split=other").find_chosen() is None
    assert choose("choose.learning_rates=[1e-3,2e-2]").find_chosen() is None
    assert choose("recipe.steps=3").find_chosen() is None


def test_records_state_what_the_rate_was_chosen_by(choose, tmp_path):
    trials = choose()
    job = trials.build_chosen(Chosen(0.01, {0.001: 0.4, 0.01: 0.6}, trials.settings))
    dev = str(tmp_path / "dev" / "validation.csv")
    config = trials.config.copy()
    config.evaluate.own = [{"path": dev, "split": "validation"}]
    score(job, job.run(), config, name="sgpt")
    records = [json.loads(f.read_text()) for f in (tmp_path / "runs").rglob("run.json")]
    before, after = sorted(records, key=lambda record: len(record["training"]))
    assert "chosen" not in before
    assert (
        after["chosen"]["learning_rate"] == 0.01 and after["training"][0]["learning_rate"] == 0.01
    )


@pytest.mark.parametrize(
    "given, message",
    [
        ({"learning_rates": (1e-3,)}, "two different rates or more"),
        ({"learning_rates": (1e-3, 1e-3)}, "two different rates or more"),
        ({"learning_rates": (1e-3, 0.0)}, "a rate is above 0"),
        ({"learning_rates": (1e-3, 1e-2), "split": "test"}, "never chosen on a test split"),
    ],
)
def test_what_cannot_be_chosen_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        ChoiceSettings(**given)


@pytest.mark.parametrize(
    "word, message",
    [
        ("out=here", "leave out= out"),
        ("docs=here", "not for docs=DIR"),
        ("estimate=true", "cannot estimate what is chosen first"),
        ("choose.seeds=2", "choose.seeds"),
    ],
)
def test_what_cannot_be_chosen_for_is_refused(choose, word, message):
    if word.startswith("choose."):
        word = "+" + word
    with pytest.raises(ValueError, match=message):
        choose(word)
