"""What is read of a record: parts that are scored beside what failed, adapters, engines."""

import json

from analysis.comparison import compare
from analysis.records.consistency import find_inconsistencies
from analysis.records.results import load_results
from tests.analysis.cells import cell

STS = {"STS12": ("STS", 0.5)}


def stamped(engine, commit="c1"):
    part = {"data": "d", "code": "c", "engine": engine, "commit": commit}
    return {"parts": {"test": {"default": part}}, "data": "d", "code": "c", "engine": engine}


def edit(file, change):
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


def test_a_task_that_failed_later_keeps_what_was_scored_before(tmp_path):
    folder = cell(tmp_path, "echo", STS, entry=stamped("e1"))

    def fail(record):
        record["tasks"]["STS12"] |= {"status": "failed", "error": "validation is broken"}
        record["tasks"]["STS12"]["splits"] = ["test", "validation"]

    edit(folder / "record" / "run.json", fail)
    frame = load_results([tmp_path])
    assert frame["status"].tolist() == ["done", "failed"]
    assert frame["split"].tolist()[0] == "test" and frame["score"].tolist()[0] == 0.5
    assert frame["message"].tolist()[1] == "validation is broken"
    assert compare(frame).scores["STS12"].tolist() == [50.0]


def test_scores_of_a_failed_task_that_no_stamp_vouches_for_are_not_shown(tmp_path):
    folder = cell(tmp_path, "echo", STS)
    edit(folder / "record" / "run.json", lambda r: r["tasks"]["STS12"].update(status="failed"))
    frame = load_results([tmp_path])
    assert frame["status"].tolist() == ["failed"] and frame["score"].isna().all()


def test_two_versions_of_the_engine_are_reported_with_their_commits(tmp_path):
    cell(tmp_path, "echo", STS, entry=stamped("e1"), commit="c1")
    cell(tmp_path, "sgpt", STS, entry=stamped("e1"), commit="c2")
    assert not find_inconsistencies(load_results([tmp_path]))
    cell(tmp_path, "prompteol", STS, entry=stamped("e2"), commit="c3")
    cell(tmp_path, "older", STS)  # before engines were recorded
    (warning,) = find_inconsistencies(load_results([tmp_path]))
    assert "made by 2 versions of the engine" in warning and "commits c1, c2, c3" in warning


def test_an_adapter_evaluated_otherwise_than_trained_is_reported(tmp_path):
    more = {"adapters": ["runs/adapters/a_1"], "trained_as": {"max_length": [75, 2048]}}
    cell(tmp_path, "sgpt", STS, **more)
    (warning,) = find_inconsistencies(load_results([tmp_path]))
    assert "sgpt with a_1 was trained with max_length=75, not 2048" in warning
