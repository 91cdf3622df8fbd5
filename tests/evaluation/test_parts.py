"""A task of two splits and two subsets: each part is scored, recomputed and recorded by itself."""

import json

import pytest
from datasets import DatasetDict

from methods.evaluation import tasks as task_module
from methods.evaluation.demo_tasks import make_metadata
from methods.evaluation.job import TasksFailed
from tests.evaluation.toys import Broken, ToySTS, make_job, read_record


class TwoByTwo(ToySTS):
    """Two subsets and two splits, counted where they are scored."""

    metadata = make_metadata(
        "TwoByTwo", "STS", "cosine_spearman", "Find it.", "toy", "https://x.org"
    )
    metadata = metadata.model_copy(
        update={"eval_langs": {"one": ["eng-Latn"], "two": ["eng-Latn"]}, "eval_splits": ["test"]}
    )
    shifts = {"one": 0.0, "two": 0.0}
    scored = []

    def load_data(self, num_proc=None, **kwargs):
        super().load_data()
        rows = self.dataset["default"]["test"]
        self.dataset = {
            subset: DatasetDict(
                {
                    split: rows.map(lambda row, by=shift: {"score": row["score"] + by})
                    for split in ("validation", "test")
                }
            )
            for subset, shift in self.shifts.items()
        }

    def _evaluate_subset(self, *args, **kwargs):
        self.scored.append((kwargs["hf_split"], kwargs["hf_subset"]))
        return super()._evaluate_subset(*args, **kwargs)


@pytest.fixture
def two_by_two(monkeypatch, tmp_path):
    """A run of some splits and subsets in one runs folder: what it scored, and its job."""
    find = task_module._get_task
    monkeypatch.setattr(
        task_module, "_get_task", lambda n: TwoByTwo() if n == "TwoByTwo" else find(n)
    )
    monkeypatch.setattr(TwoByTwo, "scored", [])

    def run(split, *subsets):
        TwoByTwo.scored.clear()
        done = make_job(
            tmp_path,
            tasks=("TwoByTwo",),
            splits={"TwoByTwo": [split]},
            subsets={"TwoByTwo": subsets},
        )
        done.run()
        return list(TwoByTwo.scored), done

    return run


def scores_of(done):
    file = done.records[0].find_result_file("TwoByTwo")
    found = json.loads(file.read_text())["scores"]
    return {(split, e["hf_subset"]) for split, entries in found.items() for e in entries}


def test_one_part_of_a_task_never_erases_or_repeats_another(two_by_two):
    assert two_by_two("test", "one")[0] == [("test", "one")]
    assert two_by_two("validation", "two")[0] == [("validation", "two")]
    scored, done = two_by_two("test", "one", "two")
    assert scored == [("test", "two")]
    assert scores_of(done) == {("test", "one"), ("test", "two"), ("validation", "two")}
    entry = read_record(done)["tasks"]["TwoByTwo"]
    assert entry["status"] == "done"
    parts = {(split, subset) for split, subsets in entry["parts"].items() for subset in subsets}
    assert parts == scores_of(done)
    assert entry["texts"] == 3 * 40
    assert set(entry["geometry"]) == {"test", "validation"}
    for split, subsets in (("validation", ["two"]), ("test", ["one", "two"])):
        assert two_by_two(split, *subsets)[0] == []


def test_changed_data_recomputes_its_own_part_alone(two_by_two, monkeypatch):
    two_by_two("test", "one", "two")
    two_by_two("validation", "one")
    monkeypatch.setattr(TwoByTwo, "shifts", {"one": 0.0, "two": 1.0})
    scored, done = two_by_two("test", "one", "two")
    assert scored == [("test", "two")]
    assert scores_of(done) == {("test", "one"), ("test", "two"), ("validation", "one")}


def test_a_part_that_fails_leaves_the_others_scores(two_by_two, monkeypatch):
    two_by_two("test", "one")
    monkeypatch.setattr(TwoByTwo, "_evaluate_subset", Broken._evaluate_subset)
    with pytest.raises(TasksFailed, match="the disk caught fire"):
        two_by_two("validation", "one")
    monkeypatch.undo()


def test_a_run_that_was_stopped_says_which_examples_it_lost(two_by_two, monkeypatch):
    whole = TwoByTwo._evaluate_subset

    def stopped(self, *args, **kwargs):
        if kwargs["hf_subset"] == "two":
            raise KeyboardInterrupt
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(TwoByTwo, "_evaluate_subset", stopped)
    with pytest.raises(KeyboardInterrupt):
        two_by_two("test", "one", "two")
    monkeypatch.setattr(TwoByTwo, "_evaluate_subset", whole)
    for subsets, scored in ((("one",), []), (("one", "two"), [("test", "two")])):
        found, done = two_by_two("test", *subsets)
        entry = read_record(done)["tasks"]["TwoByTwo"]
        assert (found, entry["status"]) == (scored, "done")
        assert "without intervals: test (one); the run that" in entry["examples_error"]
    done.records[0].find_result_file("TwoByTwo").unlink()
    found, done = two_by_two("test", "one", "two")
    entry = read_record(done)["tasks"]["TwoByTwo"]
    assert len(found) == 2 and "examples_error" not in entry and entry["examples"]["count"] == 40
