"""Data that are not mteb's are scored under a name of their own; mteb's own keep theirs."""

import json
import logging
import re
import shutil

import pandas as pd
import pytest
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.mocks import MOCK_TASK_TEST_GRID

from methods.config.resolve import compose, resolve_evaluation
from methods.config.settings import TaskList
from methods.encoding.instructions import Instructions, find_original_name
from methods.evaluation.job import Job
from methods.evaluation.own_data import compare_statistics, describe_data
from methods.evaluation.task_data import load_data, unload_data
from methods.evaluation.tasks import load_tasks

MOCKS = {
    task.metadata.name: task
    for task in MOCK_TASK_TEST_GRID
    if hasattr(task, "expected_stats") and set(task.metadata.modalities) == {"text"}
}


def pairs(number, start=0):
    rows = range(start, start + number)
    return pd.DataFrame(
        {
            "sentence1": [f"a sentence {i}" for i in rows],
            "sentence2": [f"another one {i % 7}" for i in rows],
            "score": [float(i % 6) for i in rows],
        }
    )


def own_sts(root, number=60, splits=("test",), start=0):
    folder = root / "stsbenchmark-sts"
    folder.mkdir(parents=True)
    for split in splits:
        pairs(number, start).to_parquet(folder / f"{split}.parquet")
    return root


def loaded(mirror, name="STSBenchmark", **more):
    (task,), missing = load_tasks(TaskList(names=[name], mirror=str(mirror), **more))
    assert not missing
    load_data(task)
    return task


def test_sixty_rows_of_ones_own_are_not_stsbenchmark(tmp_path, caplog):
    task = loaded(own_sts(tmp_path))
    name = task.metadata.name
    assert re.fullmatch(r"STSBenchmark-own-[0-9a-f]{8}", name) and find_original_name(name) == (
        "STSBenchmark"
    )
    assert task.metadata.revision == f"own-{name[-8:]}"  # nor do they claim mteb's revision
    assert describe_data(task) == {"verified": False, "derived_from": "STSBenchmark"}
    assert "not mteb's: test has 60 texts in text1 (mteb's: 1,379)" in caplog.text
    assert f"scored as {name}" in caplog.text


def test_a_job_files_own_data_under_their_own_name(tmp_path):
    own_sts(tmp_path / "mirror")
    config = compose(["method=e5_instruct", "model=tiny", "model.dtype=float32"])
    wanted = TaskList(names=["STSBenchmark"], mirror=str(tmp_path / "mirror"))

    def job():
        return Job(resolve_evaluation(config, name="e5_instruct"), wanted, tmp_path / "runs")

    first = job()
    score = first.run()
    folder = first.records[0].path.parent
    (name,) = json.loads((folder / "run.json").read_text())["tasks"]
    assert name.startswith("STSBenchmark-own-")
    result = json.loads((folder.parent / f"{name}.json").read_text())
    assert result["task_name"] == name and result["dataset_revision"] == f"own-{name[-8:]}"
    assert not (folder.parent / "STSBenchmark.json").exists()
    assert (folder / "examples" / f"{name}.csv.gz").exists()
    assert score is not None and job().run() == score  # the second finds the first's result


def test_own_data_have_one_name_wherever_they_lie_and_whatever_is_scored(tmp_path):
    own_sts(tmp_path / "here", splits=("validation", "test"))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    names = {loaded(tmp_path / place).metadata.name for place in ("here", "there")}
    both = {"STSBenchmark": ["test", "validation"]}
    names.add(loaded(tmp_path / "here", splits=both).metadata.name)
    assert len(names) == 1
    other = loaded(own_sts(tmp_path / "other", start=1)).metadata.name
    assert other not in names


def test_a_task_stays_what_it_is_when_its_data_are_freed(tmp_path):
    task = loaded(own_sts(tmp_path))
    before = (task.metadata.name, task.metadata.dataset["path"], describe_data(task))
    unload_data(task)
    assert (task.metadata.name, task.metadata.dataset["path"], describe_data(task)) == before
    load_data(task)
    assert (task.metadata.name, task.metadata.dataset["path"], describe_data(task)) == before


def test_what_no_statistics_cover_is_scored_as_ever_and_said(tmp_path, caplog):
    own_sts(tmp_path, splits=("validation",))
    task = loaded(tmp_path, splits={"STSBenchmark": ["validation"]})
    assert task.metadata.name == "STSBenchmark"
    assert describe_data(task) == {"verified": False}
    assert "could not be verified: mteb's statistics do not cover validation" in caplog.text


def test_an_empty_split_is_no_data_of_mtebs(monkeypatch):
    task = type(MOCKS["MockSTSTask"])()
    task.load_data()
    shipped = MOCKS["MockSTSTask"].expected_stats
    monkeypatch.setattr(TaskMetadata, "descriptive_stats", property(lambda _: shipped))
    data = task.dataset.get("default", task.dataset)
    data["test"] = data["test"].select([])
    differences, _ = compare_statistics(task)
    assert "test has 0 texts in text1 (mteb's: 2)" in differences


@pytest.mark.parametrize(
    ("names", "more"),
    [
        (["STSBenchmark", "STS13", "Banking77Classification", "SciFact"], {}),
        (["AmazonCounterfactualClassification"], {}),
        (["STS17"], {"subsets": {"STS17": ["en-en"]}}),
        (
            ["PawsXPairClassification"],
            {
                "subsets": {"PawsXPairClassification": ["en"]},
                "splits": {"PawsXPairClassification": ["validation"]},
            },
        ),
    ],
)
def test_a_faithful_mirror_changes_no_name(names, more, mirror, caplog):
    tasks, _ = load_tasks(TaskList(names=names, mirror=str(mirror), **more))
    for name, task in zip(names, tasks, strict=True):
        with caplog.at_level(logging.WARNING, logger="methods.evaluation.own_data"):
            load_data(task)
        assert task.metadata.name == name and describe_data(task) == {"verified": True}
    assert "not mteb's" not in caplog.text and "verified" not in caplog.text


def test_the_training_split_and_every_subset_count(mirror, tmp_path, caplog):
    shutil.copytree(mirror / "banking77", tmp_path / "banking77")
    file = next(tmp_path.rglob("train*.parquet"))
    frame = pd.read_parquet(file)
    frame.iloc[5:].to_parquet(file)
    assert loaded(tmp_path, "Banking77Classification").derived_from == "Banking77Classification"
    assert "train has 9,998 texts in text (mteb's: 10,003)" in caplog.text

    shutil.copytree(mirror / "amazon_counterfactual", tmp_path / "amazon_counterfactual")
    file = next((tmp_path / "amazon_counterfactual" / "de").rglob("test*.parquet"))
    frame = pd.read_parquet(file)
    frame["label"] = 1 - frame["label"]
    frame.iloc[0, frame.columns.get_loc("label")] = 1 - frame["label"].iloc[0]
    frame.to_parquet(file)
    name = "AmazonCounterfactualClassification"
    german = loaded(tmp_path, name, subsets={name: ["en", "de"]})
    assert german.derived_from == name
    assert all("(de)" in line for line in german.data_differences)
    english = loaded(tmp_path, name, subsets={name: ["en"]})
    assert english.metadata.name == name


@pytest.mark.parametrize("name", MOCKS)
def test_every_type_of_task_is_counted_as_mteb_counts_it(name, monkeypatch):
    """mteb's mock tasks come with the statistics that mteb's own code makes of them."""
    mock = MOCKS[name]
    task = type(mock)()
    task.load_data()
    if convert := getattr(task, "convert_v1_dataset_format_to_v2", None):
        convert(None)
    shipped = json.loads(json.dumps(mock.expected_stats))
    monkeypatch.setattr(TaskMetadata, "descriptive_stats", property(lambda _: shipped))
    assert compare_statistics(task) == ([], [])
    number = len(list(_numbers(shipped)))
    assert number > 2
    for change in range(number):  # of every number that is compared, another value is found
        _numbers_changed(shipped, change, +1)
        differences, _ = compare_statistics(task)
        compared = differences != []
        _numbers_changed(shipped, change, -1)
        place = list(_numbers(shipped))[change]
        if place[-1] in ("total_text_length", "unique_texts", "num_relevant_docs", "count"):
            elsewhere = "candidates_labels_text_statistics" in place  # of the task's class, no data
            assert compared or elsewhere or _overall(place, task) or _flattened(place, task), place


def _numbers(value, place=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, (*place, key))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield place


def _numbers_changed(value, which, by):
    *way, last = list(_numbers(value))[which]
    for key in way:
        value = value[key]
    value[last] += by


def _overall(place, task):
    """Of a multilingual task only its subsets are compared, not their sum."""
    return task.metadata.is_multilingual and "hf_subset_descriptive_stats" not in place


def _flattened(place, task):
    """Conversations are flattened by mteb in a way of its own; only the corpus is compared."""
    return "Dialog" in task.metadata.name and "queries_text_statistics" in place


def test_an_instruction_is_found_for_own_data():
    (task,) = [task for task in MOCKS.values() if task.metadata.name == "MockSTSTask"]
    named = task.metadata.model_copy(update={"name": "STSBenchmark-own-1a2b3c4d", "prompt": None})
    table = Instructions(source="e5", tasks={"STSBenchmark": "Find it."})
    assert table.find(named) == "Find it."
    assert Instructions(tasks={"STSBenchmark": "Find it."}).find(named) == "Find it."
    assert Instructions().find(named)  # mteb's for the whole type
