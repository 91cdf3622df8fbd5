"""Files and folders that cannot be evaluated, and entries that are none, are refused by name."""

import pytest

from methods.config.settings import build_task_list
from methods.evaluation import own_task
from tests.evaluation import own_files
from tests.evaluation.own_files import (
    write,
    write_beir,
    write_llama_index,
    write_pairs,
)

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
