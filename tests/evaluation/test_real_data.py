"""The data path is mteb's: its own random baseline scores what it scored on the leaderboard."""

import mteb
import pytest

from methods.config.settings import TaskList
from methods.evaluation.task_data import load_data
from methods.evaluation.tasks import load_tasks

# Published in embeddings-benchmark/results, results/mteb__baseline-random-encoder/1/<Task>.json.
EXACT = [
    "STSBenchmark",
    "SICK-R",
    "STS12",
    "STS13",
    "STS14",
    "STS15",
    "STS17",
    "Banking77Classification",
    "AmazonCounterfactualClassification",
]
SUBSETS = {"STS17": ["en-en"], "AmazonCounterfactualClassification": ["en"]}


@pytest.fixture(scope="module")
def published(mirror):
    import pandas as pd

    file = mirror.parent / "published.csv"
    if not file.is_file():
        pytest.skip(f"no published scores at {file}")
    frame = pd.read_csv(file)
    return frame[frame["model"] == "mteb/baseline-random-encoder"]


@pytest.mark.parametrize("name", EXACT)
def test_mtebs_random_baseline_is_reproduced(name, mirror, published):
    subsets = {name: SUBSETS[name]} if name in SUBSETS else {}
    (task,), missing = load_tasks(TaskList(names=[name], subsets=subsets, mirror=str(mirror)))
    assert not missing
    load_data(task)
    model = mteb.get_model("mteb/baseline-random-encoder")
    result = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    scores = result.task_results[0].scores
    rows = published[(published["task"] == name) & (published["split"] == "test")]
    expected = dict(zip(rows["hf_subset"], rows["main_score"], strict=True))
    found = {score["hf_subset"]: score["main_score"] for score in scores["test"]}
    assert found == pytest.approx({subset: expected[subset] for subset in found}, abs=1e-6)


def test_what_a_mirror_lacks_is_named_and_the_rest_runs(mirror):
    names = ["STS16", "ArguAna", "PawsXPairClassification", "STS17"]
    tasks, missing = load_tasks(
        TaskList(
            names=names,
            subsets={"PawsXPairClassification": ["en"], "STS17": ["en-en", "es-es"]},
            splits={"PawsXPairClassification": ["test"]},
            mirror=str(mirror),
        )
    )
    assert tasks.pop().missing_parts == ["subset es-es"]
    assert [task.metadata.name for task in tasks] == ["STS16"]
    assert "mteb/arguana is not in the mirror" in missing["ArguAna"]
    assert "has no split test, only validation" in missing["PawsXPairClassification"]


def test_a_split_of_ones_choice_is_read(mirror):
    (task,), missing = load_tasks(
        TaskList(
            names=["PawsXPairClassification"],
            subsets={"PawsXPairClassification": ["en"]},
            splits={"PawsXPairClassification": ["validation"]},
            mirror=str(mirror),
        )
    )
    assert not missing and load_data(task).whole == "95f95d09886cbb2d"
    assert task.eval_splits == ["validation"] and set(task.dataset) == {"en"}


def test_a_mirrored_copy_with_other_columns_is_an_error(mirror, tmp_path):
    import pandas as pd

    folder = tmp_path / "sts16-sts"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text((mirror / "sts16-sts" / "README.md").read_text())
    frame = pd.read_parquet(mirror / "sts16-sts" / "data" / "test.parquet")
    frame.rename(columns={"sentence1": "premise"}).to_parquet(folder / "data" / "test.parquet")
    (task,), _ = load_tasks(TaskList(names=["STS16"], mirror=str(tmp_path)))
    with pytest.raises(
        ValueError, match="has columns premise, .*needed: sentence1, sentence2, score"
    ):
        load_data(task)


# What the committed records under runs/reference are of: another draw would need them made again.
DEMO_FINGERPRINTS = {
    "DemoReverseDictionary": "29aff1ce0a37f797",
    "DemoNewsgroups": "19329bad7bfde29f",
    "DemoReuters": "a06744b673250ba3",
    "DemoLee": "9a365789d264d826",
}


def test_the_demo_tasks_are_what_their_table_says(smollm2):
    from methods.data.demo import demo_synsets
    from methods.evaluation.demo_tasks import DEMO_TASKS

    loaded = {name: task() for name, task in DEMO_TASKS.items()}
    assert {name: load_data(task).whole for name, task in loaded.items()} == DEMO_FINGERPRINTS
    data = {name: task.dataset["default"]["test"] for name, task in loaded.items()}
    words = data["DemoReverseDictionary"]
    assert (len(words["corpus"]), len(words["queries"])) == (1000, 300)
    assert len(set(words["corpus"]["text"])) == 1000
    assert len(data["DemoNewsgroups"]) == 280 and len(set(data["DemoNewsgroups"]["labels"])) == 8
    assert len(data["DemoReuters"]) == 150
    assert len(loaded["DemoReuters"].dataset["default"]["train"]) == 128
    assert len(data["DemoLee"]) == 1225
    assert set(words["relevant_docs"]) <= set(demo_synsets())


def test_chance_scores_nothing_on_the_demo_tasks(smollm2):
    from methods.evaluation.demo_tasks import DEMO_TASKS

    model = mteb.get_model("mteb/baseline-random-encoder")
    tasks = [task() for task in DEMO_TASKS.values()]
    results = mteb.evaluate(model, tasks, cache=None, co2_tracker=False, show_progress_bar=False)
    scores = {result.task_name: result.get_score() for result in results.task_results}
    assert scores["DemoReverseDictionary"] < 0.02
    assert abs(scores["DemoNewsgroups"]) < 0.03
    assert scores["DemoReuters"] < 0.25
    assert abs(scores["DemoLee"]) < 0.2
