"""An estimate says beforehand what the run then records, and leaves nothing behind."""

from pathlib import Path

import pytest

from methods.config.resolve import compose, resolve_evaluation
from methods.config.settings import TaskList
from methods.evaluation import dry_run, estimate, model_size
from methods.evaluation.amounts import format_bytes, format_duration, format_money, format_number
from methods.evaluation.cost_table import format_estimate, format_line
from methods.evaluation.estimate import estimate_evaluation
from methods.evaluation.job import Job

TASKS = ("DemoLeeSmall", "DemoReutersSmall")


@pytest.fixture
def make(tmp_path):
    """A job on the tiny model; its vectors are cached in a folder of the test's own."""

    def make(*words, tasks=TASKS, name="sgpt"):
        config = compose([f"method={name}", "model=tiny", *words])
        cache = {"folder": str(tmp_path / "cache"), "gib": 1}
        resolved = resolve_evaluation(config, name=name)
        return Job(resolved, TaskList(names=tasks), tmp_path / "runs", cache=cache)

    return make


def list_files(folder: Path):
    return sorted((file, file.stat().st_mtime_ns) for file in folder.rglob("*"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sgpt", ["layer=[1,-1]", "pooling=[last,mean]"]),
        ("prompteol", []),  # a prefix that all texts share
        ("e5_instruct", []),  # and queries and documents differ
    ],
)
def test_its_tokens_are_those_that_the_run_records(make, tmp_path, name, words):
    tasks = (*TASKS, "DemoReverseDictionarySmall")
    found = estimate_evaluation(make(*words, tasks=tasks, name=name))
    assert list_files(tmp_path) == []
    job = make(*words, tasks=tasks, name=name)
    job.run()
    for cost in found.tasks:
        entry = job.records[0].read_entry(cost.name)
        assert cost.texts == entry["texts"] and cost.tokens == entry["tokens"]
        prefix = entry["tokens_computed"] - cost.computed
        assert (prefix > 0) == (name != "sgpt") and cost.exact
        assert cost.seconds is not None and cost.passes is not None
        assert cost.seconds > 0 and 0 < cost.passes < cost.texts
    assert found.seconds and found.speed and found.speed.memory > 0
    info = job.shared.store.info()  # pyright: ignore
    assert found.vectors_bytes == info["bytes"]


def test_rows_and_their_prefixes_are_counted(make):
    words = ["method.prompts=[5,8]", "method.max_length=700"]
    found = estimate_evaluation(make(*words, tasks=TASKS[:1], name="meta_eol"))
    job = make(*words, tasks=TASKS[:1], name="meta_eol")
    job.run()
    (cost,), entry = found.tasks, job.records[0].read_entry(TASKS[0])
    assert cost.texts == entry["texts"] and cost.tokens == entry["tokens"]
    assert cost.computed < 0.7 * entry["tokens_computed"]  # which counts what is shared each time
    assert found.vectors_bytes == job.shared.store.info()["bytes"]  # pyright: ignore


def test_what_cannot_be_estimated_is_said(make):
    with pytest.raises(ValueError, match="the cost of ContrastivePrompting cannot be estimated"):
        estimate_evaluation(make("method.at=1", name="contrastive_prompting"))


def test_what_is_scored_or_cached_costs_nothing(make, tmp_path):
    make(tasks=TASKS[:1]).run()
    before = list_files(tmp_path / "runs")
    found = estimate_evaluation(make())
    assert [task.note for task in found.tasks] == ["scored already", ""]
    assert found.tasks[0].computed == 0 < found.tasks[1].computed
    assert list_files(tmp_path / "runs") == before
    text = format_estimate(found, 3.0)
    assert "DemoLeeSmall" in text and "scored already" in text and "at 3 an hour" in text
    assert "1 of 2 tasks are scored already" in format_line(found, None)
    make().run()
    other = make("normalize=true")  # another cell of the same vectors
    found = estimate_evaluation(other)
    assert [task.computed for task in found.tasks] == [0, 0] and found.speed is None
    assert all(task.texts for task in found.tasks)
    fresh = estimate_evaluation(make(), from_records=False)
    assert not any(task.note for task in fresh.tasks)


def test_many_texts_are_counted_by_a_sample(make, monkeypatch):
    whole = estimate_evaluation(make(tasks=("DemoReutersSmall",)))
    monkeypatch.setattr(dry_run, "COUNTED", 2000)
    monkeypatch.setattr(dry_run, "SAMPLE", 60)
    found = estimate_evaluation(make(tasks=("DemoReutersSmall",)))
    (cost,), (exact,) = found.tasks, whole.tasks
    assert not cost.exact and cost.texts == exact.texts
    assert cost.tokens == pytest.approx(exact.tokens, rel=0.15)
    assert cost.computed == pytest.approx(exact.computed, rel=0.15)
    assert f"~{cost.tokens:,.0f}" in format_estimate(found, None)


def test_a_side_keeps_a_uniform_sample_of_different_texts(monkeypatch):
    monkeypatch.setattr(dry_run, "COUNTED", 500)
    monkeypatch.setattr(dry_run, "SAMPLE", 50)
    side = dry_run.Side(None, None)
    texts = [f"text {number:03}" for number in range(1000)]
    for first in range(0, 1000, 100):
        side.add(texts[first : first + 100])
        side.add(texts[:10])
    assert side.texts == 1100 and len(side.different) == 1000 and not side.whole
    assert len(set(side.kept)) == len(side.kept) == 50
    assert 350 < sum(int(text[5:]) for text in side.kept) / 50 < 650


def test_a_model_without_room_leaves_what_is_known_of_it(make, monkeypatch):
    exact = estimate_evaluation(make())
    monkeypatch.setattr(estimate, "find_free_memory", lambda device: 1000)
    found = estimate_evaluation(make())
    assert found.seconds is None and found.computed == exact.computed > 0
    text = format_estimate(found, 2.0)
    assert "0.1 MiB in bfloat16" in text or "0.1 MiB in float32" in text
    assert "two for each token and each of 27,648 weights" in text
    assert "time       unknown" in text and "unknown, at 2 an hour" in text
    assert "not measured" in format_line(found, 2.0)


def test_a_task_that_fails_does_not_end_the_estimate(make, monkeypatch):
    def fail(task, *_, **__):
        raise RuntimeError(f"no {task.metadata.name}")

    monkeypatch.setattr(estimate, "run_dry", fail)
    found = estimate_evaluation(make())
    assert found.tasks[0].note == "cannot be estimated: RuntimeError: no DemoLeeSmall"
    assert len(found.tasks) == 2 and found.seconds is not None


def test_the_size_of_a_model_is_that_of_its_weights(make):
    job = make("model.dtype=float32", "kernel.linears=torch")
    size = model_size.measure_model(job.evaluation.spec)
    model = job.backbone.model
    assert size.weights == sum(part.numel() for part in model.parameters())
    assert size.linear_weights == job.backbone.linear_weights and size.bytes == 4 * size.weights
    free = model_size.find_free_memory("cpu")
    assert free is None or free > 10 << 20


def test_amounts_are_written_in_the_unit_that_suits_them():
    seconds = [0.04, 9.96, 100, 119, 130, 3600, 7150, 36_000]
    shown = ["0.0 s", "10 s", "100 s", "2.0 min", "2.2 min", "60 min", "2.0 h", "10 h"]
    assert [format_duration(number) for number in seconds] == shown
    assert format_duration(None) == "unknown" and format_number(None) == "unknown"
    assert format_number(1234.4, exact=False) == "~1,234"
    assert format_bytes(3 << 20) == "3.0 MiB" and format_bytes(3 << 30) == "3.0 GiB"
    assert format_money(1800, 2.5) == "1.25 at 2.5 an hour"
