"""Tasks on a user's own files: which kind they are, what is refused, and how they are scored."""

import json
import subprocess
import sys
from pathlib import Path

import mteb
import pandas as pd
import pytest

from methods.config.own_tasks import OwnTask
from methods.config.resolve import compose, resolve_evaluation
from methods.config.settings import TaskList, build_task_list
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


BAD_TABLES = [
    ("a,b,score\nx,y,1\n", {}, "has the columns a, b, score, which fit no kind of task. Valid"),
    ("text,label\nx,1\n", {}, "fit several kinds; say which: kind: classification or kind: clus"),
    ("sentence1,sentence2,score,label\na,b,1,1\n", {}, "kind: sts or kind: pair_classification"),
    ("a,b,c\nx,y,1\n", {"kind": "sts"}, "no column sentence1, sentence2, score; it has: a, b, c"),
    ("sentence1,sentence2,score\na,,1\nb,c,2\n", {}, "1 of 2 rows cannot be.*line 2: sentence2 is"),
    ("sentence1,sentence2,score\na,b,1\n\nb,c,n/a\n", {}, "line 4: score is 'n/a', no number"),
    ("sentence1,sentence2,score\na,b,nan\nb,c,1\n", {}, "line 2: score is 'nan', no number"),
    ("sentence1,sentence2,score\na,b,7\nb,c,1\n", {"scale": [0, 5]}, "7, outside the scale of"),
    ("sentence1,sentence2,score\na,b,3\nb,c,3\n", {}, r"every score of split test is 3.*2 rows"),
    ("sentence1,sentence2,label\na,b,1\nb,c,1\n", {}, "every label of split test is 1.*needs p"),
    ("sentence1,sentence2,label\na,b,yes\nb,c,1\n", {}, "label is 'yes'; it is 1 for a pair that"),
    ("sentence1,sentence2,score\n", {}, "has no row"),
    ("", {}, "is empty; its first line names the columns"),
    ("sentence1\tsentence2\tscore\na\tb\t1\n", {}, "separated by tabs, not by commas.*bad.tsv"),
    ("sentence1;sentence2;score\na;b;1\n", {}, "separated by semicolons.*Save it with commas"),
    (b"sentence1,sentence2,score\na,caf\xe9,1\n", {}, "line 2: byte .* is not UTF-8"),
    ("sentence1,sentence2,score\na,b,1,2\n", {}, "line 2 has 4 fields, the header has 3"),
    ("text,label\na,x\nb,x\n", {"kind": "clustering"}, "every label of split test is x"),
    ("text,label\na,x\nb,y\n", {"kind": "clustering"}, "as many labels as texts"),
    ("text,label\na,x\nb,y\nc,y\n", {"kind": "classification"}, "1 of 2 classes have one row"),
    ("text,label\na,x\nb,x\n", {"kind": "classification"}, "every label of split train is x"),
    ("text,label,split\na,x,test\n", {}, "has the splits test; classification needs train"),
    ("text,label,split\na,x,train\nb,y,train\nc,z,test\n", {}, "test has z, which no row of split"),
    ("text,label,split\na,x,\nb,y,train\n", {}, "line 2: split is '', no name of a split"),
    ("text,label\na,x\n", {"kind": "retrieval"}, "is no retrieval task; one is a BEIR folder"),
    ("sentence1,sentence2,score\na,b,1\nb,c,2\n", {"columns": {"split": "part"}}, "no column part"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "more", "message"), BAD_TABLES)
def test_a_table_that_cannot_be_evaluated_is_refused(text, more, message, tmp_path):
    with pytest.raises(ValueError, match=f"(?s)bad.csv.*{message}"):
        own_task(write(tmp_path, "bad.csv", text), **more)


D0 = '{"_id": "d0", "title": "", "text": "eggs"}'
HEAD = "query-id\tcorpus-id\tscore"
BAD_BEIR = [
    ({"queries.jsonl": None}, "lacks queries.jsonl; a BEIR folder has corpus.jsonl"),
    ({"qrels/test.tsv": None, "qrels/test.csv": "x"}, "qrels has no .tsv file"),
    ({"corpus.jsonl": f"{D0}\n{D0}"}, "line 2: _id 'd0' stands in line 1 already"),
    ({"corpus.jsonl": D0.replace("eggs", " ")}, "corpus.jsonl: 1 of 1 rows.*line 1: text is ' '"),
    ({"corpus.jsonl": '{"id": "d0", "text": "x"}'}, "it has no _id; it has: id, text"),
    ({"corpus.jsonl": '{"_id": "d0", "body": "x"}'}, "it has no text; it has: _id, body"),
    ({"queries.jsonl": '{"_id": "q1", "text": "x"'}, "queries.jsonl, line 1 is not JSON"),
    ({"qrels/test.tsv": "q1\td0\t1"}, "its first line is: q1, d0, 1. It names the columns"),
    ({"qrels/test.tsv": f"{HEAD}\nq9\td0\t1"}, "line 2: query 'q9' is not in queries.jsonl"),
    ({"qrels/test.tsv": f"{HEAD}\nq1\td9\t1"}, "line 2: document 'd9' is not in corpus.jsonl"),
    ({"qrels/test.tsv": f"{HEAD}\nq1\td0\thigh"}, "score 'high' is no whole number"),
    ({"qrels/test.tsv": f"{HEAD}\nq1\td0\t0.5"}, "score '0.5' is no whole number"),
    ({"qrels/test.tsv": f"{HEAD}\nq1\td0\t0"}, "has no judgement above 0"),
    ({"qrels/test.tsv": HEAD}, "test.tsv has no row"),
    ({"qrels/test.tsv": f"{HEAD}\nq1\td0\t1\nq1\td0\t2"}, "judged twice, differently"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "message"), BAD_BEIR)
def test_a_beir_folder_that_cannot_be_evaluated_is_refused(files, message, tmp_path):
    with pytest.raises(ValueError, match=f"(?s)my_beir.*{message}"):
        own_task(write_beir(tmp_path, **files))


BAD_LLAMA = [
    ({"corpus": {"d0": "eggs"}}, "query 'q2' names document 'd1', corpus lacks it"),
    ({"queries": {"q1": "x"}}, "relevant_docs names query 'q2', queries lacks it"),
    ({"queries": {**own_files.QUERIES, "q1": ""}}, "queries 'q1': the text is empty"),
    ({"corpus": {**own_files.CORPUS, "d1": 5}}, "corpus 'd1': the text is 5, of type int"),
    ({"corpus": None}, "whose object corpus it lacks"),
    ({"relevant_docs": {}}, "relevant_docs names no document for any query"),
]


@pytest.mark.parametrize(("parts", "message"), BAD_LLAMA)
def test_a_llama_index_file_that_cannot_be_evaluated_is_refused(parts, message, tmp_path):
    with pytest.raises(ValueError, match=f"qa.json.*{message}"):
        own_task(write_llama_index(tmp_path, **parts))


def test_an_id_that_a_llama_index_file_has_twice_is_refused(tmp_path):
    file = write_llama_index(tmp_path)
    write(tmp_path, "qa.json", file.read_text().replace('"d1": "Rome', '"d0": "Rome'))
    with pytest.raises(ValueError, match="one object names 'd0' twice"):
        own_task(file)


def test_folders_and_paths_that_are_no_task_are_refused(tmp_path, monkeypatch):
    write(tmp_path, "other/notes.csv", "a,b\n1,2\n")
    write(tmp_path, "other/more.txt", "x")
    with pytest.raises(ValueError, match="no BEIR folder.*no folder with.*holds more.txt, notes.c"):
        own_task(tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"there is no gone.csv; .*command runs, {tmp_path}"):
        own_task("gone.csv")
    monkeypatch.setenv("HOME", str(tmp_path))
    write_pairs(tmp_path)
    assert own_task("~/pairs.csv").own["name"] == "pairs"
    for more, message in (
        ({"kind": "sts"}, "its kind is retrieval, not sts"),
        ({"scale": [0, 1]}, "which has no scale"),
    ):
        with pytest.raises(ValueError, match=message):
            own_task(write_beir(tmp_path), **more)


BAD_ENTRIES = [
    ("pairs.csv", r"tasks.own 'pairs.csv' is one value where a list is meant; write tasks.own=\["),
    ({"path": "x"}, r"write tasks.own=\[\{path: \.\.\.\}\]"),
    ([5], r"tasks.own\[0\] is 5; it takes a path, or a mapping"),
    ([{"kind": "sts"}], r"tasks.own\[0\].path has no value"),
    ([{"path": "x", "kin": "sts"}], r"tasks.own\[0\].kin: OwnTask has no kin; .*did you mean kind"),
    ([{"path": "x", "kind": "stss"}], r"\[0\].kind 'stss' is unknown; valid: sts, pair_.*mean sts"),
    ([{"path": "x", "name": "a b"}], r"tasks.own\[0\]: name is 'a b'; it has letters"),
    ([{"path": "x", "columns": {"score2": "y"}}], "columns names score2; valid: sentence1"),
    ([{"path": "x", "columns": {"score": "y", "text": "y"}}], "takes 'y' for two of ours"),
    ([{"path": "x", "scale": [5, 0]}], r"scale is \[5, 0\]; it is the lowest and the highest"),
    ([{"path": "x", "kind": "clustering", "scale": [0, 5]}], "scale is of kind sts"),
    ([{"path": ""}], "path is empty"),
    ([{"path": "x", "instruction": " "}], "instruction is empty"),
    ([{"_target_": "Task"}], "_target_ is 'Task'; it names a class"),
]


@pytest.mark.parametrize(("own", "message"), BAD_ENTRIES)
def test_an_entry_that_is_none_is_refused_before_a_file_is_read(own, message):
    with pytest.raises(ValueError, match=message):
        build_task_list({"own": own}, key="tasks")


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
