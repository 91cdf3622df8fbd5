"""Tasks on a user's own files: which kind they are, and how they are scored."""

import json
import subprocess
import sys
from pathlib import Path

import mteb
import pandas as pd
import pytest

from methods.config.own_tasks import OwnTask
from methods.config.resolve import compose, resolve_evaluation
from methods.config.settings import TaskList
from methods.encoding.instructions import Instructions
from methods.evaluation import own_task
from methods.evaluation.job import Job
from methods.evaluation.task_data import load_data, unload_data
from methods.evaluation.tasks import load_tasks
from tests.evaluation import own_files
from tests.evaluation.own_files import (
    write,
    write_beir,
    write_duplicates,
    write_llama_index,
    write_pairs,
    write_topics,
)

ROOT = Path(__file__).parents[2]


def write_folder(folder):
    for split, part in (("train", slice(0, 6)), ("test", slice(6, 12))):
        rows = [{"text": t, "label": label} for t, label in own_files.list_texts()[part]]
        write(folder, f"posts/{split}.jsonl", "\n".join(map(json.dumps, rows)))
    return folder / "posts"


def write_split(folder):
    return write_topics(
        folder, "split.csv", "text,label,split", lambda at: "train" if at < 6 else "test"
    )


GOOD = {
    "sts": (write_pairs, {}, "STS", "cosine_spearman"),
    "pair_classification": (write_duplicates, {}, "PairClassification", "max_ap"),
    "classification": (
        write_topics, {"kind": "classification"}, "Classification", "accuracy",
    ),
    "folder": (write_folder, {}, "Classification", "accuracy"),
    "split": (write_split, {}, "Classification", "accuracy"),
    "clustering": (write_topics, {"kind": "clustering"}, "Clustering", "v_measure"),
    "beir": (write_beir, {}, "Retrieval", "ndcg_at_10"),
    "llama_index": (write_llama_index, {}, "Retrieval", "ndcg_at_10"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_file_is_a_task_of_its_kind(name, tmp_path):
    make, more, kind, score = GOOD[name]
    task = own_task(make(tmp_path), **more)
    assert isinstance(task, mteb.AbsTask)
    assert (task.metadata.type, task.metadata.main_score) == (kind, score)
    assert task.eval_splits == ["test"] and task.metadata.name.startswith(task.own["name"] + "-own")
    stated = task.calculate_descriptive_statistics()["test"]  # mteb's; nothing is written by it
    assert stated["num_samples"] == task.own["samples"]["test"] > 3
    assert stated["number_of_characters"] > 30
    again = own_task(make(tmp_path / "again"), **more)
    assert again.metadata.name == task.metadata.name


def test_formats_of_one_table_are_one_task(tmp_path):
    write_pairs(tmp_path)
    table = pd.read_csv(tmp_path / "pairs.csv")
    table.to_parquet(tmp_path / "pairs.parquet")
    table.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    table.to_json(tmp_path / "pairs.jsonl", orient="records", lines=True)
    table.to_json(tmp_path / "pairs.json", orient="records")
    names = {own_task(file).metadata.name for file in tmp_path.glob("pairs.*")}
    assert len(names) == 1 and len(list(tmp_path.glob("pairs.*"))) == 5


def test_what_decides_a_score_decides_the_name(tmp_path):
    file = write_pairs(tmp_path)
    first = own_task(file)
    named = [
        own_task(file, name="Mine"),
        own_task(file, scale=[0, 5]),
        own_task(file, instruction="Find it."),
        own_task(write_pairs(tmp_path / "x", rows=[("other", "text", "1"), *own_files.PAIRS])),
    ]
    names = [task.metadata.name for task in (first, *named)]
    assert len(set(names)) == len(names)
    assert [name.split("-own-")[0] for name in names] == ["pairs", "Mine", *["pairs"] * 3]
    assert first.own["scale"] == [0.0, 4.5] and named[1].own["scale"] == [0.0, 5.0]
    odd = own_task(write_pairs(tmp_path, "Größe & Preis (2).csv"))
    assert odd.metadata.name.startswith("Groe_Preis_2-own-")


def test_columns_are_named_and_others_are_left(tmp_path):
    file = write_pairs(tmp_path, header="left,right,points")
    columns = {"sentence1": "left", "sentence2": "right", "score": "points"}
    task = own_task(file, columns=columns)
    assert task.metadata.type == "STS"
    assert task.dataset["default"]["test"]["sentence2"][1] == "the sun, it is hot"


def test_classification_without_splits_halves_each_class(tmp_path):
    file = write_topics(tmp_path)
    task = own_task(file, kind="classification")
    parts = task.dataset["default"]
    assert sorted(parts["train"]["label"]) == sorted(parts["test"]["label"]) == [0, 0, 1, 1, 2, 2]
    assert not set(parts["train"]["text"]) & set(parts["test"]["text"])
    assert "seed 42" in task.own["split"]
    again = own_task(file, kind="classification").dataset["default"]
    assert list(again["train"]["text"]) == list(parts["train"]["text"])


def test_two_of_one_name_are_refused_and_splits_are_asked_for_by_name(tmp_path):
    first, other = write_pairs(tmp_path), write_pairs(tmp_path / "b", rows=own_files.PAIRS[1:])
    paths = [OwnTask(path=str(first)), OwnTask(path=str(other))]
    with pytest.raises(ValueError, match="two tasks of your own are called pairs; give one"):
        load_tasks(TaskList(own=paths))
    dev = "query-id\tcorpus-id\tscore\nq1\td0\t2"
    beir = OwnTask(path=str(write_beir(tmp_path, **{"qrels/dev.tsv": dev})))
    (task,), _ = load_tasks(TaskList(own=[beir], splits={"my_beir": ["dev"]}))
    assert task.eval_splits == ["dev"]
    with pytest.raises(ValueError, match="has no split validation to score; it has dev, test"):
        load_tasks(TaskList(own=[beir], splits={"my_beir": ["validation"]}))
    with pytest.raises(ValueError, match="tasks.splits names other"):
        load_tasks(TaskList(own=[beir], splits={"other": ["dev"]}))


def test_data_are_read_again_after_they_were_freed(tmp_path):
    file = write_pairs(tmp_path)
    (task,), _ = load_tasks(TaskList(own=[OwnTask(path=str(file))]))
    before = load_data(task)
    unload_data(task)
    assert load_data(task) == before and task.metadata.name.startswith("pairs-own-")
    unload_data(task)
    write_pairs(tmp_path, rows=own_files.PAIRS[1:])
    with pytest.raises(ValueError, match="was changed while it was evaluated; run it again"):
        load_data(task)


def test_an_instruction_is_the_users_the_tables_or_the_types(tmp_path, caplog):
    file = write_beir(tmp_path)
    given = own_task(file, instruction="Find recipes.").metadata
    plain = own_task(file).metadata
    table = Instructions(source="e5", types={"Retrieval": "Of the type."})
    for source in (Instructions(), table):
        assert source.find(given) == "Find recipes."
    assert table.find(plain) == "Of the type." and "no instruction of its own" not in caplog.text
    assert Instructions(source="e5").find(plain) == "Retrieve text based on user query."
    assert f"{plain.name} has no instruction of its own" in caplog.text
    named = Instructions(tasks={"my_beir": "By name."})
    assert named.find(given) == "By name."


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A method with instructions and one without, scored on one task of every kind."""
    folder = tmp_path_factory.mktemp("own")
    for name in GOOD:
        (folder / name).mkdir()
    own = [
        OwnTask(path=str(make(folder / name)), name=name, **more)
        for name, (make, more, _, _) in GOOD.items()
    ]
    for method in ("sgpt", "e5_instruct"):
        config = compose([f"method={method}", "model=tiny", "model.dtype=float32"])
        Job(resolve_evaluation(config, name=method), TaskList(own=own), folder / "runs").run()
    return folder / "runs"


def test_every_kind_is_recorded_with_examples_and_geometry(runs):
    for file in runs.rglob("record/run.json"):
        record = json.loads(file.read_text())
        entries = {entry["own"]["name"]: (name, entry) for name, entry in record["tasks"].items()}
        assert list(entries) == list(GOOD)
        for short, (name, entry) in entries.items():
            assert entry["status"] == "done" and entry["type"] == GOOD[short][2]
            assert entry["geometry"]["test"]["default"]["effective_rank"] > 1
            examples = file.parent / "examples" / f"{name}.csv.gz"
            assert examples.exists() == (short != "clustering")
            assert "examples_error" not in entry and "geometry_error" not in entry
            default = entry["own"].get("default_instruction")
            assert default == (True if record["method"] == "e5_instruct" else None)
            result = json.loads((file.parents[1] / f"{name}.json").read_text())
            assert result["dataset_revision"] == f"own-{name[-8:]}"


def test_the_reports_tables_show_the_tasks(runs, tmp_path):
    from analysis.report import report

    report([runs], tmp_path)
    types = (tmp_path / "runs" / "types.md").read_text()
    for heading in ("STS", "PairClassification", "Classification", "Clustering", "Retrieval"):
        assert f" {heading} " in types
    assert "not tested: Clustering" in types  # all others have intervals
    tasks = (tmp_path / "runs" / "tasks.md").read_text()
    assert all(f" {name}-own-" in tasks for name in GOOD)


def test_an_encoder_takes_an_own_task_from_python_as_the_command_scores_it(runs, encoder):
    file = runs.parent / "sts" / "pairs.csv"
    task = own_task(file, name="sts")
    result = mteb.evaluate(
        encoder("sgpt"), task, cache=None, co2_tracker=False, show_progress_bar=False
    )
    (cell,) = (
        file.parents[1]
        for file in runs.rglob("record/run.json")
        if json.loads(file.read_text())["method"] == "sgpt"
    )
    stored = json.loads((cell / f"{task.metadata.name}.json").read_text())
    stored = stored["scores"]["test"][0]["main_score"]
    assert result.task_results[0].get_score() == pytest.approx(stored, abs=1e-6)


def test_importing_the_function_imports_nothing_heavy():
    code = "import sys; from methods.evaluation import own_task; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert not {"mteb", "torch", "datasets", "pandas", "hydra"} & set(eval(done.stdout))
