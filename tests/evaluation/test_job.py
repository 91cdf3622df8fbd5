"""A job on real task classes with toy data: what is stored, what is recomputed, what fails."""

import json
import os

import pytest

from methods.config.settings import TaskList
from methods.evaluation import tasks as task_module
from methods.evaluation.job import Job, TasksFailed
from tests.evaluation.toys import (
    SENTENCES,
    Broken,
    Full,
    ToySTS,
    Unreadable,
    WrongColumns,
    make_job,
    read_record,
)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    known = {t.metadata.name: t for t in (ToySTS, Broken, Full, Unreadable, WrongColumns)}
    find = task_module._get_task
    monkeypatch.setattr(task_module, "_get_task", lambda n: known[n]() if n in known else find(n))


def test_a_job_leaves_mtebs_files_and_a_record(tmp_path):
    done = make_job(tmp_path)
    score = done.run()
    stated = read_record(done)
    entry = stated["tasks"]["ToySTS"]
    assert entry["status"] == "done"
    assert (entry["texts"], entry["cut_texts"]) == (40, 0)
    assert entry["tokens"] == 2 * 4 * sum(map(len, SENTENCES))
    assert entry["tokens_computed"] == sum(map(len, SENTENCES))  # each sentence is read once
    assert {"commit", "dirty", "versions", "machine", "config", "command", "backbone"} <= set(
        stated
    )
    from mteb import TaskResult

    result = TaskResult.from_disk(done.records[0].path.parents[1] / "ToySTS.json")
    assert result.get_score() == pytest.approx(score)


def test_mtebs_own_tools_read_the_results(tmp_path):
    from mteb.cache import ResultCache

    make_job(tmp_path, "pooling=[last,mean]").run()
    loaded = ResultCache(tmp_path).load_results(include_remote=False, load_experiments="match_name")
    assert len(loaded.model_results) == 2


def test_a_finished_task_is_not_computed_again_and_needs_no_model(tmp_path, monkeypatch):
    first = make_job(tmp_path)
    score = first.run()
    monkeypatch.setattr(Job, "backbone", property(lambda self: pytest.fail("the model was loaded")))
    again = make_job(tmp_path)
    assert again.run() == score


def test_other_data_or_other_code_is_computed_again(tmp_path, monkeypatch):
    make_job(tmp_path).run()
    monkeypatch.setattr(ToySTS, "shift", 1.0)
    changed = make_job(tmp_path)
    before = read_record(changed)["tasks"]["ToySTS"]
    changed.run()
    after = read_record(changed)["tasks"]["ToySTS"]
    assert after["data"] != before["data"] and after["tokens_computed"] > 0
    monkeypatch.setattr("methods.evaluation.entries.digest_class", lambda cls: "edited")
    edited = make_job(tmp_path)
    edited.run()
    assert read_record(edited)["tasks"]["ToySTS"]["code"] == "edited"


def test_a_damaged_result_or_record_is_computed_again(tmp_path):
    first = make_job(tmp_path)
    score = first.run()
    folder = first.records[0].path.parents[1]
    (folder / "ToySTS.json").write_text((folder / "ToySTS.json").read_text()[:100])
    assert make_job(tmp_path).run() == pytest.approx(score)
    first.records[0].path.write_text("{")
    assert make_job(tmp_path).run() == pytest.approx(score)


def test_a_failed_task_is_recorded_the_others_run_and_the_job_says_so(tmp_path):
    mixed = make_job(tmp_path, tasks=("Broken", "Unreadable", "WrongColumns", "ToySTS"))
    with pytest.raises(TasksFailed, match="3 failed: Broken .*caught fire"):
        mixed.run()
    tasks = read_record(mixed)["tasks"]
    assert tasks["ToySTS"]["status"] == "done"
    assert "caught fire" in tasks["Broken"]["error"]
    assert "no such column" in tasks["Unreadable"]["error"]
    assert (
        "has columns premise, hypothesis, score; needed: sentence1"
        in tasks["WrongColumns"]["error"]
    )


def test_a_disk_that_is_full_is_told_without_a_traceback(tmp_path, caplog):
    with pytest.raises(TasksFailed, match="1 failed: Full .*no space left"):
        make_job(tmp_path, tasks=("Full",)).run()
    assert "failed on Full: OSError: no space left" in caplog.text
    assert "Traceback" not in caplog.text


def test_what_is_finished_is_not_lost_when_its_data_goes(tmp_path, monkeypatch):
    first = make_job(tmp_path)
    first.run()
    monkeypatch.setattr(ToySTS, "load_data", Unreadable.load_data)
    with pytest.raises(TasksFailed):
        make_job(tmp_path).run()
    assert read_record(first)["tasks"]["ToySTS"]["status"] == "done"


def test_an_attention_the_model_does_not_obey_ends_the_job(tmp_path):
    refused = make_job(tmp_path, "model.source.architecture=openai-gpt", "attention=bidirectional")
    with pytest.raises(ValueError, match="attention=bidirectional does not work on OpenAIGPTModel"):
        refused.run()


def test_cells_of_one_job_equal_jobs_alone_under_the_same_identity(tmp_path):
    together = make_job(tmp_path / "together", "pooling=[last,mean]", "layer=[1,-1]")
    together.run()
    for cell, own in zip(together.cells, together.records, strict=True):
        alone = make_job(tmp_path / "alone", f"pooling={cell.pooling}", f"layer={cell.layer}")
        alone.run()
        assert own.path.relative_to(tmp_path / "together") == alone.records[0].path.relative_to(
            tmp_path / "alone"
        )
        scores = [
            json.loads((r.path.parents[1] / "ToySTS.json").read_text())["scores"]
            for r in (own, alone.records[0])
        ]
        assert scores[0]["test"][0]["main_score"] == pytest.approx(
            scores[1]["test"][0]["main_score"], abs=1e-6
        )


def test_posts_are_columns_of_one_job_which_share_its_vectors(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(SENTENCES))
    posts = "post=[null,dims:16,int8,binary,dims:16+binary]"
    job = make_job(tmp_path, "pooling=[last,mean]", posts, f"fit_on={corpus}")
    job.run()
    records = [read_record(job, number) for number in range(10)]
    entries = [record["tasks"]["ToySTS"] for record in records]
    assert sum(entry["tokens_computed"] for entry in entries) == sum(map(len, SENTENCES))
    assert [e["vector_bytes"] for e in entries] == [128, 64, 32, 4, 2] * 2
    steps = [record.get("post", {}).get("steps") for record in records[:5]]
    assert steps == [None, "dims:16", "int8", "binary", "dims:16+binary"]
    assert records[2]["post"]["fitted_on"]["texts"] == 5
    assert [record["pooling"] for record in records] == ["last"] * 5 + ["mean"] * 5
    assert len({record.path for record in job.records}) == 10
    plain = make_job(tmp_path / "plain", "pooling=mean")
    plain.run()
    folders = [job.records[5].path, plain.records[0].path]
    assert len({path.parents[1].name for path in folders}) == 1, "no post keeps the cell's name"
    assert "post_dims_16+binary" in job.records[9].path.parents[1].name
    files = [record.path.parents[1] / "ToySTS.json" for record in job.records[:5]]
    scores = {json.loads(f.read_text())["scores"]["test"][0]["main_score"] for f in files}
    assert len(scores) > 2


def test_all_layers_of_a_model_can_be_asked_for_by_one_word(tmp_path):
    assert [cell.layer for cell in make_job(tmp_path, "layer=all").cells] == [0, 1, 2, -1]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["layer=7"], "layer 7 is out of range; this model has 3 layers"),
        (["method=e5_instruct", "instructions=llm2vec"], "task ToySTS .* no instruction"),
    ],
)
def test_what_cannot_run_is_told_before_the_model_is_loaded(
    tmp_path, monkeypatch, overrides, message
):
    monkeypatch.setattr(Job, "backbone", property(lambda self: pytest.fail("the model was loaded")))
    with pytest.raises(ValueError, match=message):
        make_job(tmp_path, *overrides).run()


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_an_unwritable_runs_folder_is_told_at_once(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="cannot be written .* runs=DIR"):
        make_job(tmp_path / "runs").run()


def test_a_runs_path_that_is_a_file_is_told_at_once(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(ValueError, match="cannot be written .* runs=DIR"):
        make_job(tmp_path / "runs").run()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"names": ["STSBenchmrk"]}, "task 'STSBenchmrk' is unknown; did you mean STSBenchmark"),
        ({"benchmark": "MTEB(eng, v9)"}, "benchmark 'MTEB.eng, v9.' is unknown; close are"),
        ({"names": ["STS12"], "splits": {"STS12": ["dve"]}}, "STS12 has no split dve"),
        ({"names": ["STS17"], "subsets": {"STS17": ["xx"]}}, "STS17 has no subset xx; valid: "),
        ({"names": ["STS12"], "splits": {"STS13": ["test"]}}, "names STS13, which is not among"),
        ({"names": ["STS12"], "mirror": "/nowhere"}, "mirror=/nowhere is no folder"),
        ({"names": ["STS12"], "splits": {"STS12": []}}, "tasks.splits names none of STS12"),
        ({"names": ["STS17"], "subsets": {"STS17": []}}, "tasks.subsets names none of STS17"),
        ({"names": ["STS12"], "mirror": ""}, "mirror is empty"),
        ({}, "no tasks: give tasks.names"),
    ],
)
def test_wrong_tasks_are_told(wanted, message):
    with pytest.raises(ValueError, match=message):
        task_module.load_tasks(TaskList(**wanted))


def test_a_record_without_parts_is_read_as_it_was_written(tmp_path):
    done = make_job(tmp_path)
    done.run()
    path = done.records[0].path
    old = json.loads(path.read_text())
    for name in ("schema", "processor", "trained_as", "config_dir"):
        del old[name]
    for name in ("parts", "engine"):
        del old["tasks"]["ToySTS"][name]
    path.write_text(json.dumps(old))
    again = make_job(tmp_path)
    again.run()
    assert again.__dict__.get("backbone") is None  # nothing was computed
    assert (
        read_record(again)["schema"] == 1 and "parts" not in read_record(again)["tasks"]["ToySTS"]
    )


def test_a_record_of_a_newer_schema_is_refused(tmp_path):
    done = make_job(tmp_path)
    done.run()
    path = done.records[0].path
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    with pytest.raises(ValueError, match="schema 99"):
        make_job(tmp_path).run()


def test_scores_of_another_engine_stay_and_are_logged(tmp_path, monkeypatch, caplog):
    score = make_job(tmp_path).run()
    monkeypatch.setattr("methods.evaluation.entries.digest_engine", lambda: "another")
    monkeypatch.setattr("methods.evaluation.job.digest_engine", lambda: "another")
    with caplog.at_level("INFO"):
        again = make_job(tmp_path)
        assert again.run() == score
    assert "another version of the engine" in caplog.text
    assert read_record(again)["tasks"]["ToySTS"]["engine"] != "another"
