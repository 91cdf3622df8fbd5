"""What a mirror lacks is named, and the rest of a task is prepared as if mteb had no more of it."""

import logging

import mteb
import pandas as pd
import pytest
from datasets import Dataset
from mteb.abstasks import AbsTaskClassification, AbsTaskSTS
from mteb.abstasks.aggregate_task_metadata import AggregateTaskMetadata
from mteb.abstasks.aggregated_task import AbsTaskAggregate

from methods.config.settings import TaskList
from methods.evaluation import tasks as task_module
from methods.evaluation.task_data import load_data, unload_data
from methods.evaluation.tasks import explain_missing, list_scored_splits, load_tasks

LANGUAGES = {"en": ["eng-Latn"], "de": ["deu-Latn"]}


def metadata(name, type_="STS", splits=("validation", "test"), **more):
    return mteb.TaskMetadata(
        name=name,
        description="toy",
        reference="https://x.org",
        dataset={"path": f"org/{name.lower()}", "revision": "1", **more.pop("dataset", {})},
        type=type_,
        category="t2t",
        eval_splits=list(splits),
        eval_langs=more.pop("eval_langs", ["eng-Latn"]),
        main_score={"STS": "cosine_spearman", "Classification": "accuracy"}[type_],
        prompt="Find it.",
    )


class Looping(AbsTaskSTS):
    """Prepares every split that its metadata name, as a hundred of mteb's tasks do."""

    metadata = metadata("Looping")

    def dataset_transform(self, num_proc=None, **kwargs):
        for split in self.metadata.eval_splits:
            self.dataset[split] = self.dataset[split].rename_column("gold", "score")


class LoopingLanguages(AbsTaskSTS):
    metadata = metadata("LoopingLanguages", eval_langs=LANGUAGES)

    def dataset_transform(self, num_proc=None, **kwargs):
        for subset in self.metadata.eval_langs:
            for split in self.metadata.eval_splits:
                data = self.dataset[subset][split]
                self.dataset[subset][split] = data.rename_column("gold", "score")


class ReadsTest(Looping):
    """Names its test split, whatever is evaluated."""

    metadata = metadata("ReadsTest")

    def dataset_transform(self, num_proc=None, **kwargs):
        super().dataset_transform()
        self.scale = max(self.dataset["test"]["score"])


class Classes(AbsTaskClassification):
    metadata = metadata("Classes", "Classification", ["test"])


class Named(Looping):
    metadata = metadata("Named", dataset={"name": "second"})


class Both(AbsTaskAggregate):
    metadata = AggregateTaskMetadata(
        name="Both",
        description="toy",
        tasks=[Looping(), ReadsTest()],
        main_score="cosine_spearman",
        type="STS",
        eval_splits=["test"],
    )


TOYS = (Looping, LoopingLanguages, ReadsTest, Classes, Named, Both)
TOYS = {toy.metadata.name: toy for toy in TOYS}


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    find = task_module._get_task
    monkeypatch.setattr(task_module, "_get_task", lambda n: TOYS[n]() if n in TOYS else find(n))


def mirrored(root, name, splits, *, config=None, number=4):
    """Write a dataset's files; config: in a folder of its own, named in the header."""
    folder = root / name.lower()
    for split in splits:
        rows = {
            "sentence1": [f"{split} {config} one {i}" for i in range(number)],
            "sentence2": [f"two {i % 3}" for i in range(number)],
            "gold": [float(i % 4) for i in range(number)],
        }
        if name == "Classes":
            rows = {"text": rows["sentence1"], "label": [i % 2 for i in range(number)]}
        file = folder / (config or ".") / f"{split}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_parquet(file)
    if config:
        lines = ["---", "configs:"]
        for part in sorted(p for p in folder.iterdir() if p.is_dir()):
            lines += [f"- config_name: {part.name}", "  data_files:"]
            for file in sorted(part.iterdir()):
                lines += [f"  - split: {file.stem}", f"    path: {part.name}/{file.name}"]
        (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return root


def only(mirror, name, **more):
    (task,), missing = load_tasks(TaskList(names=[name], mirror=str(mirror), **more))
    assert not missing
    return task


@pytest.mark.parametrize("held", ["validation", "test"])
def test_a_task_that_prepares_every_split_is_read_from_a_mirror_of_one(held, tmp_path):
    task = only(mirrored(tmp_path, "Looping", [held]), "Looping", splits={"Looping": [held]})
    load_data(task)
    assert task.dataset[held].column_names == ["sentence1", "sentence2", "score"]
    assert task.metadata.eval_splits == ["validation", "test"]  # as they were
    assert Looping.metadata.eval_splits == ["validation", "test"]
    unload_data(task)
    assert load_data(task) == load_data(only(tmp_path, "Looping", splits={"Looping": [held]}))


def test_a_split_that_the_metadata_do_not_name_is_prepared_too(tmp_path):
    mirrored(tmp_path, "Looping", ["validation", "test", "train"])
    task = only(tmp_path, "Looping", splits={"Looping": ["train"]})
    load_data(task)
    assert "score" in task.dataset["train"].column_names


def test_a_whole_mirror_is_prepared_as_ever(tmp_path):
    mirrored(tmp_path, "Looping", ["validation", "test"])
    task = only(tmp_path, "Looping", splits={"Looping": ["test"]})
    load_data(task)
    assert "score" in task.dataset["validation"].column_names


def test_a_task_that_prepares_every_language_is_read_from_a_mirror_of_one(tmp_path, caplog):
    mirrored(tmp_path, "LoopingLanguages", ["validation", "test"], config="de")
    task = only(tmp_path, "LoopingLanguages")
    load_data(task)
    assert task.hf_subsets == ["de"] and task.missing_parts == ["subset en"]
    assert "missing: LoopingLanguages: subset en" in caplog.text
    assert list(LoopingLanguages.metadata.eval_langs) == ["en", "de"]


@pytest.mark.parametrize("whole", ["en", "de"])
def test_splits_are_those_of_every_subset_not_of_the_first(whole, tmp_path):
    """Whichever language has fewer: what is evaluated is in both."""
    for subset in ("en", "de"):
        splits = ["validation", "test"] if subset == whole else ["test"]
        mirrored(tmp_path, "LoopingLanguages", splits, config=subset)
    task = only(tmp_path, "LoopingLanguages")
    assert list(task.eval_splits) == ["test"] and task.hf_subsets == ["en", "de"]
    short = "de" if whole == "en" else "en"
    assert task.missing_parts == [f"split validation (not in {short})"]
    load_data(task)


def test_subsets_without_a_split_in_common_are_left_out_by_name(tmp_path):
    mirrored(tmp_path, "LoopingLanguages", ["validation"], config="en")
    mirrored(tmp_path, "LoopingLanguages", ["test"], config="de")
    task = only(tmp_path, "LoopingLanguages")
    assert (list(task.eval_splits), task.hf_subsets) == (["validation"], ["en"])
    assert "subset de (no split validation)" in task.missing_parts
    load_data(task)


def test_a_preparation_that_needs_another_split_is_told(tmp_path):
    mirrored(tmp_path, "ReadsTest", ["validation"])
    task = only(tmp_path, "ReadsTest", splits={"ReadsTest": ["validation"]})
    with pytest.raises(ValueError, match="reads 'test', which the mirror lacks; it has validation"):
        load_data(task)


def test_a_classifier_without_a_training_split_is_told_before_a_model_is_loaded(tmp_path):
    mirrored(tmp_path, "Classes", ["test"])
    tasks, missing = load_tasks(TaskList(names=["Classes"], mirror=str(tmp_path)))
    assert not tasks and "has no split train, which the task trains" in missing["Classes"]
    message = explain_missing(missing)
    assert message.startswith("nothing can be scored") and "Classes: " in message
    mirrored(tmp_path, "Classes", ["train"])
    load_data(only(tmp_path, "Classes"))


def test_a_configuration_that_a_task_names_is_the_one_that_is_read(tmp_path):
    mirrored(tmp_path, "Named", ["validation"], config="first")
    mirrored(tmp_path, "Named", ["validation", "test"], config="second")
    task = only(tmp_path, "Named")
    load_data(task)
    assert list(task.eval_splits) == ["validation", "test"]
    assert task.dataset["test"]["sentence1"][0] == "test second one 0"
    mirrored(tmp_path / "other", "Named", ["test"], config="first")
    _, missing = load_tasks(TaskList(names=["Named"], mirror=str(tmp_path / "other")))
    assert "has no subset second, only first" in missing["Named"]


def test_a_folder_that_is_no_dataset_is_named(tmp_path):
    (tmp_path / "looping").mkdir()
    _, missing = load_tasks(TaskList(names=["Looping"], mirror=str(tmp_path)))
    assert "looping cannot be read as a dataset" in missing["Looping"]


def test_why_data_cannot_be_read_is_told_to_the_bottom(tmp_path):
    mirrored(tmp_path, "Looping", ["validation", "test"])
    (tmp_path / "looping" / "test.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="the data of Looping cannot be read .*[Pp]arquet"):
        load_data(only(tmp_path, "Looping"))


def test_parts_of_an_aggregate_belong_to_one_job_alone(tmp_path):
    """mteb holds an aggregate's parts once a process; a second mirror must not meet the first."""
    for mirror in ("one", "two"):
        for part in ("Looping", "ReadsTest"):
            mirrored(tmp_path / mirror, part, ["validation", "test"], number=4 + len(mirror))
    tasks = [only(tmp_path / mirror, "Both") for mirror in ("one", "two", "two")]
    first, second, again = map(load_data, tasks)
    assert first == second == again
    paths = [{p.metadata.dataset["path"] for p in task.metadata.tasks} for task in tasks]
    assert paths[0].isdisjoint(paths[1]) and paths[1] == paths[2]
    narrow = only(tmp_path / "one", "Both", splits={"Both": ["validation"]})
    assert [list(part.eval_splits) for part in narrow.metadata.tasks] == [["validation"]] * 2
    assert narrow.metadata.eval_splits == ["validation"]
    assert Both.metadata.eval_splits == ["test"]
    assert Both.metadata.tasks[0].metadata.dataset["path"] == "org/looping"
    mirrored(tmp_path / "three", "Looping", ["test"])
    mirrored(tmp_path / "three", "ReadsTest", ["test"])
    assert "Looping: split validation" in only(tmp_path / "three", "Both").missing_parts


def test_a_benchmarks_tasks_belong_to_one_job_alone():
    wanted = {"STS12": ["train"]}
    (narrowed,) = [
        task
        for task in load_tasks(TaskList(benchmark="MTEB(eng, v1)", splits=wanted))[0]
        if task.metadata.name == "STS12"
    ]
    (whole,) = [
        task
        for task in load_tasks(TaskList(benchmark="MTEB(eng, v1)"))[0]
        if task.metadata.name == "STS12"
    ]
    assert list(narrowed.eval_splits) == ["train"] and list(whole.eval_splits) == ["test"]


def test_one_rule_says_which_splits_a_score_is_of():
    by_name = Looping()
    assert list_scored_splits(by_name) == ["test"]
    assert list_scored_splits(by_name, ["validation"]) == ["validation"]
    assert list_scored_splits(by_name.filter_eval_splits(["dev", "validation"])) == [
        "dev",
        "validation",
    ]
    for benchmark in ("MTEB(eng, v2)", "MTEB(Multilingual, v2)"):
        for task in load_tasks(TaskList(benchmark=benchmark))[0]:
            assert list_scored_splits(task) == list(
                task.eval_splits
            )  # mteb's own for that benchmark


def test_a_superseded_task_is_said_to_be_so_once(caplog, recwarn, tmp_path):
    task_module._log_superseded.cache_clear()
    mirrored(tmp_path, "stsbenchmark-sts", ["test"])
    file = tmp_path / "stsbenchmark-sts" / "test.parquet"
    Dataset.from_pandas(pd.read_parquet(file).rename(columns={"gold": "score"})).to_parquet(file)
    model = mteb.get_model("mteb/baseline-random-encoder")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            task = only(tmp_path, "STSBenchmark")
            load_data(task)
            mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    logged = [record for record in caplog.records if "is superseded by" in record.getMessage()]
    assert len(logged) == 1 and "STSBenchmark.v2" in logged[0].getMessage()
    assert not [warning for warning in recwarn if "is superseded by" in str(warning.message)]
