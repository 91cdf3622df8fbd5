"""An estimate says beforehand what a training takes, and changes nothing on disk."""

import json

import pytest

from methods.config.resolve import compose
from methods.training import estimate
from methods.training.config import build_train_job
from methods.training.cost_table import format_training, format_training_line
from methods.training.estimate import StepTimer, add_evaluations, estimate_training
from methods.training.stored_settings import describe_settings, write_settings


@pytest.mark.parametrize(
    ("more", "rows"),
    [
        (["method=sgpt"], 8),
        (["method=llm2vec", "recipe.mini_batch=4"], 8),
        (["recipe.steps=1"], 8),
        (["recipe.accumulation=3", "recipe.steps=4"], 24),
    ],
)
def test_its_steps_and_tokens_are_those_of_the_training(train, tmp_path, more, rows):
    job = train(*more)
    before = set(tmp_path.rglob("*"))
    found = estimate_training(job)
    assert set(tmp_path.rglob("*")) == before and not job.folder.exists()
    job.run()
    record = json.loads((job.folder / "training.json").read_text())
    assert found.steps == record["steps"] and found.rows == 64 and found.counted == 64
    # The record counts a batch more, which the loader had ready when training ended.
    most = found.tokens * (found.steps + 1) / found.steps
    assert 0.9 * found.tokens < record["tokens"] < 1.1 * most
    assert found.trained == (record["trained"], record["of"])
    assert found.measured[0] >= 1 and found.seconds and found.memory > 0
    assert f"{found.steps} of {rows} rows; 64 rows of data" in format_training(found, None)


def test_one_of_masked_tokens_counts_blocks(tmp_path, pairs):
    given = [
        *("recipe=llm2vec_mntp_demo", "model=tiny", "model.dtype=float32", "data=file"),
        *(f"data.sources.mine.path={pairs}", "data.sources.mine.columns={text: query}"),
        *("recipe.masking.length=32", "recipe.masking.token=eos", "recipe.batch_size=4"),
        *("recipe.steps=null", "recipe.epochs=2", f"out={tmp_path / 'mntp'}"),
    ]
    job = build_train_job(compose(given, verb="train"), title="mntp", overrides=given)
    found = estimate_training(job)
    assert found.tokens == found.steps * 4 * 32 and found.steps > 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimate, "explain_no_room", lambda *_: "no room")
        known = estimate_training(job)
    assert known.steps == pytest.approx(found.steps, abs=2) and known.seconds is None


def test_what_is_done_of_a_training_costs_nothing(train, tmp_path):
    job = train("method=sgpt", "run.every=2")
    job.run()
    done = estimate_training(job)
    assert done.done and done.total == done.starting == 0
    assert "none: it is trained already" in format_training(done, None)
    with pytest.raises(ValueError, match="is a finished training with other settings"):
        estimate_training(train("method=sgpt", "recipe.learning_rate=1"))


def test_it_adds_what_validation_and_evaluation_cost(train, tmp_path, monkeypatch):
    monkeypatch.setenv("DEC2VEC_EMBEDDINGS", str(tmp_path / "none"))
    given = ["method=sgpt", f"runs={tmp_path / 'runs'}", "evaluate.names=[DemoLeeSmall]"]
    found = estimate_training(job := train(*given))
    add_evaluations(found, job)
    assert [(label, times) for label, times, _ in found.evaluations] == [
        ("before", 1),
        ("after", 1),
    ]
    costs = [own for _, _, own in found.evaluations]
    assert costs[0].computed == costs[1].computed > 0 and not (tmp_path / "runs").exists()
    assert found.total == pytest.approx(
        found.starting + (found.seconds or 0) + sum(own.seconds or 0 for own in costs)
    )
    assert found.all_tokens == found.tokens + 2 * costs[0].computed
    text = format_training(found, 2.0)
    assert "before" in text and "after" in text and "at 2 an hour" in text
    alone = train(*given, "evaluate.before=false")
    found = estimate_training(alone)
    add_evaluations(found, alone)
    assert [label for label, _, _ in found.evaluations] == ["after"]


def test_a_model_without_room_leaves_steps_and_tokens(train, monkeypatch):
    measured = estimate_training(train("method=sgpt"))
    monkeypatch.setattr(estimate, "explain_no_room", lambda *_: "the weights take 14 GiB")
    found = estimate_training(train("method=sgpt"))
    assert (found.steps, found.tokens) == (measured.steps, measured.tokens)
    assert found.seconds is None and found.total is None
    text = format_training(found, 2.0)
    assert "the weights take 14 GiB" in text and "four (adapters) to six" in text
    assert "unknown, at 2 an hour" in text
    assert "not measured: the weights take" in format_training_line(found, None)


def test_steps_are_timed_without_the_first_and_end_when_they_suffice():
    class Collated:
        tokens = 0

    class Control:
        should_training_stop = False

    for fixed, last in ((False, estimate.STEPS), (True, estimate.FEWEST)):
        timer, control = StepTimer(Collated(), fixed=fixed), Control()
        steps = 0
        while not control.should_training_stop:
            timer.on_step_begin(None, None, control)
            timer.collator.tokens += 10
            timer.on_step_end(None, None, control)
            steps += 1
        assert steps == last
        taken, tokens, seconds = timer.summarize()
        assert (taken, tokens) == (steps - 1, 10 * (steps - 1)) and seconds >= 0


def test_a_training_that_resumes_costs_the_steps_that_are_left(train):
    source = train("method=sgpt").run() / "adapter_model.safetensors"
    job = train("method=sgpt", out="resumed")
    checkpoint = job.folder / "checkpoints" / "checkpoint-4"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")
    (checkpoint / source.name).write_bytes(source.read_bytes())
    write_settings(job.folder, describe_settings(job))
    found = estimate_training(job)
    assert (found.taken, found.steps) == (4, 2)
    assert found.tokens == pytest.approx(estimate_training(train(out="new")).tokens / 3)
    assert "2 of 8 rows, after 4 that are done" in format_training(found, None)
