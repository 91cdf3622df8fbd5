"""What is left of a job, and its time, by the records of earlier ones."""

import json

import pytest

from methods.config.resolve import compose, resolve_evaluation
from methods.config.settings import TaskList
from methods.evaluation import history
from methods.evaluation.history import History, Left
from methods.evaluation.job import Job

TASKS = ("DemoLeeSmall", "DemoReutersSmall")


@pytest.fixture
def make(tmp_path):
    def make(*words, tasks=TASKS, name="sgpt", **more):
        resolved = resolve_evaluation(compose([f"method={name}", "model=tiny", *words]), name=name)
        return Job(resolved, TaskList(names=tasks, **more), tmp_path / "runs")

    return make


def edit(job, change):
    """Change the record of a job's first cell."""
    record = job.records[0].read()
    change(record)
    job.records[0].path.write_text(json.dumps(record))


def test_a_job_is_to_do_then_unfinished_then_done(make, tmp_path):
    runs = tmp_path / "runs"
    left = History(runs).find_left(make())
    assert left == Left("to do", dict.fromkeys(TASKS, 1)) and not runs.exists()
    assert History(runs).predict(make(), left) is None
    make(tasks=TASKS[:1]).run()
    left = History(runs).find_left(make())
    assert left == Left("unfinished", {"DemoReutersSmall": 1})
    assert History(runs).predict(make(), left) is None  # nothing is known of that task
    assert History(runs).find_left(make(tasks=TASKS[:1])).state == "done"
    assert History(runs).find_left(make("layer=[-1,1]", tasks=TASKS[:1])).tasks == {TASKS[0]: 1}
    other = History(runs).find_left(make("layer=1", tasks=TASKS[:1]))
    assert other.state == "to do"


def test_another_split_and_edited_code_are_not_done(make, tmp_path):
    job = make(tasks=TASKS[:1])
    job.run()
    split = make(tasks=TASKS[:1], splits={TASKS[0]: ["train"]})
    assert History(job.runs).find_left(split).state == "unfinished"

    def change(record):
        record["tasks"][TASKS[0]]["parts"]["test"]["default"]["code"] = "edited"

    edit(job, change)
    assert History(job.runs).find_left(make(tasks=TASKS[:1])).state == "unfinished"


def set_costs(job, **costs):
    """State other costs of a job's tasks."""

    def change(record):
        for entry in record["tasks"].values():
            entry.update(costs)

    edit(job, change)


def test_time_is_the_tasks_own_and_its_tokens_by_the_models_speed(make):
    known = make(tasks=TASKS[:1])
    known.run()
    set_costs(known, tokens=1000, tokens_computed=500, seconds=12.0, tokens_per_second=50.0)
    read = History(known.runs)
    job = make("layer=1", tasks=TASKS[:1])  # the same tokens
    assert read.predict(job, read.find_left(job)) == pytest.approx(2 + 500 / 50)
    several = make("layer=[0,1,2]", tasks=TASKS[:1])  # one pass, scored three times
    assert read.predict(several, read.find_left(several)) == pytest.approx(3 * 2 + 500 / 50)
    echo = make(tasks=TASKS[:1], name="echo")  # nothing is known of its tokens
    assert read.predict(echo, read.find_left(echo)) == pytest.approx(2 + 500 / 50)
    echo = make(tasks=TASKS, name="echo")
    echo.run()
    set_costs(echo, tokens=2000, tokens_computed=2000, seconds=42.0, tokens_per_second=50.0)
    read = History(known.runs)
    job = make(tasks=TASKS[1:])  # half the tokens that echo takes, as for the other task
    assert read.predict(job, read.find_left(job)) == pytest.approx(2 + 1000 / 50)


def test_records_of_another_machine_tell_nothing(make, monkeypatch):
    known = make(tasks=TASKS[:1])
    known.run()
    job = make("layer=1", tasks=TASKS[:1])
    assert History(known.runs).known
    set_costs(known, threads=99)
    assert not History(known.runs).known
    edit(known, lambda record: record.update(processor="another"))
    read = History(known.runs)
    assert not read.known and read.predict(job, read.find_left(job)) is None
    known.records[0].path.write_text("{")
    assert not History(known.runs).known


def test_jobs_of_one_model_look_it_up_once(make, monkeypatch):
    calls = []
    plain = history.load_tasks
    monkeypatch.setattr(history, "load_tasks", lambda wanted: (calls.append(1), plain(wanted))[1])
    make(tasks=TASKS[:1]).run()
    read = History(make().runs)
    jobs = [make(f"layer={layer}") for layer in range(3)]
    assert [read.find_left(job).state for job in jobs] == ["to do"] * 3
    assert len(calls) == 1 and all(job.identity is jobs[0].identity for job in jobs)
