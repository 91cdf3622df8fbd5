"""The data path is mteb's: its own random baseline scores what it scored on the leaderboard."""

from pathlib import Path

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
# Drawn once, before any score was seen: another draw would be one that was chosen.
SMALL_FINGERPRINTS = {
    "DemoReverseDictionarySmall": "bb285bb137ba4cfe",
    "DemoNewsgroupsSmall": "2dd45c9bba7b2ec0",
    "DemoReutersSmall": "8657911fb8509b62",
    "DemoLeeSmall": "d98cc3ddd3aebf89",
}
POSITION_FINGERPRINTS = {
    "PositionRemoval20": "cf94bd3ac9ef3d28",
    "PositionRemoval80": "175a063ec5b151d5",
    "PositionRemoval240": "657ce35afdd9a676",
    "PositionInsertion80": "6dbbf469097b2664",
}


def test_the_tasks_of_positions_are_what_their_records_are_of(smollm2):
    from methods.evaluation.position_tasks import POSITION_TASKS

    found = {name: load_data(task()).whole for name, task in POSITION_TASKS.items()}
    assert found == POSITION_FINGERPRINTS


def test_the_demo_tasks_are_what_their_table_says(smollm2):
    from methods.data.wordnet import draw_demo_synsets
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
    assert set(words["relevant_docs"]) <= set(draw_demo_synsets())


def test_the_small_demo_tasks_are_what_their_table_says(smollm2):
    from methods.evaluation.demo_small import SMALL_TASKS
    from methods.evaluation.demo_tasks import DemoReverseDictionary

    loaded = {name: task() for name, task in SMALL_TASKS.items()}
    assert {name: load_data(task).whole for name, task in loaded.items()} == SMALL_FINGERPRINTS
    data = {name: task.dataset["default"]["test"] for name, task in loaded.items()}
    words = data["DemoReverseDictionarySmall"]
    assert (len(words["corpus"]), len(words["queries"])) == (250, 150)
    assert len(set(words["corpus"]["text"])) == 250
    load_data(larger := DemoReverseDictionary())
    known = larger.dataset["default"]["test"]
    assert set(words["corpus"]["id"]) <= set(known["corpus"]["id"])  # so never trained on
    assert not set(words["queries"]["id"]) & set(known["queries"]["id"])
    posts = data["DemoNewsgroupsSmall"]
    assert len(posts) == 96 and len(set(posts["labels"])) == 8
    assert len(data["DemoReutersSmall"]) == 101
    assert len(loaded["DemoReutersSmall"].dataset["default"]["train"]) == 64
    assert len(data["DemoLeeSmall"]) == 1225
    assert max(len(text.split()) for text in data["DemoLeeSmall"]["sentence1"]) == 35


# What `make demo` compares.
NINE = ("cpt_text", "e5_instruct", "echo", "llm2vec", "prompteol", "repllama", "sentence_encoder")
NINE += ("sgpt", "udever")


def test_make_demo_compares_nine_methods():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert f"METHODS = {','.join(NINE)}\n" in makefile


def test_the_small_demo_is_150_000_tokens_for_nine_methods(smollm2):
    from methods.backbone.loader import load_backbone
    from methods.config.resolve import compose, resolve_evaluation
    from methods.evaluation.demo_small import SMALL_TASKS

    tasks = [task() for task in SMALL_TASKS.values()]
    for task in tasks:
        task.load_data()
    read = set()  # udever reads what cpt_text does and pools the same: its vectors are there
    for name in NINE:
        planned = resolve_evaluation(compose([f"method={name}"]), name=name)
        cell, tokenizer = planned.cells[0], load_backbone(planned.spec).tokenizer
        for task in tasks:
            asked = {}
            if cell.uses_instructions:
                found = planned.instructions.find(task.metadata)
                asked = {"instruction": cell.phrase_instruction(found)}
            for side, texts in texts_of(task):
                side = None if task.metadata.type in cell.queries_only else side
                given = {"prompt_type": side, **(asked if side != "document" else {})}
                inputs = cell.prepare_inputs(list(texts), tokenizer=tokenizer, **given)
                pooled = (planned.spec.name, cell.attention, cell.pooling, cell.layer)
                masks = map(tuple, inputs.pool_mask)
                read |= {(pooled, *row) for row in zip(map(tuple, inputs.ids), masks, strict=True)}
    assert sum(len(ids) for _, ids, _ in read) == 147_244


def texts_of(task):
    """The texts of a demo task as its type reads them, by side."""
    parts = task.dataset["default"]
    columns = {"Clustering": ["sentences"], "STS": ["sentence1", "sentence2"]}
    if task.metadata.type == "Retrieval":
        yield "query", parts["test"]["queries"]["text"]
        yield "document", parts["test"]["corpus"]["text"]
        return
    for part in parts.values():
        for column in columns.get(task.metadata.type, ["text"]):
            yield None, part[column]


def chance_scores(tasks):
    model = mteb.get_model("mteb/baseline-random-encoder")
    tasks = [task() for task in tasks.values()]
    results = mteb.evaluate(model, tasks, cache=None, co2_tracker=False, show_progress_bar=False)
    return {result.task_name: result.get_score() for result in results.task_results}


def test_chance_scores_nothing_on_the_demo_tasks(smollm2):
    from methods.evaluation.demo_tasks import DEMO_TASKS

    scores = chance_scores(DEMO_TASKS)
    assert scores["DemoReverseDictionary"] < 0.02
    assert abs(scores["DemoNewsgroups"]) < 0.03
    assert scores["DemoReuters"] < 0.25
    assert abs(scores["DemoLee"]) < 0.2


def test_chance_scores_little_on_the_small_demo_tasks(smollm2):
    from methods.evaluation.demo_small import SMALL_TASKS

    scores = chance_scores(SMALL_TASKS)
    assert scores["DemoReverseDictionarySmall"] < 0.05
    assert abs(scores["DemoNewsgroupsSmall"]) < 0.05
    assert scores["DemoReutersSmall"] < 0.25
    assert abs(scores["DemoLeeSmall"]) < 0.2
