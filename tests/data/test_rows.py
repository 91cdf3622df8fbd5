"""Columns, negatives and bad rows: what is trained on, and what is refused before any step."""

import pytest
from datasets import Dataset

from methods.training.data import DataSource, find_overlap
from tests.data.sources import GOOD, read_source, read_texts, write_file, write_rows

PAIRS = [
    {"query": f"q{i}", "positive": f"p{i}", "negative": [f"n{i}a", f"n{i}b"], "x": i}
    for i in range(4)
]


def test_columns_are_named_and_negatives_counted(tmp_path):
    path = write_rows(tmp_path, [{"a": "q", "b": "p", "c": "n", "d": "m"}])
    columns = {"query": "a", "positive": "b", "negatives": ["c", "d"]}
    row = read_source(DataSource(path=path, columns=columns)).rows["mine"][0]
    assert (row["query"], row["positive"], row["negative_1"], row["negative_2"]) == tuple("qpnm")
    many = read_source(DataSource(path=write_rows(tmp_path, PAIRS)), negatives=1).rows["mine"]
    assert "negative_2" not in many.column_names
    assert {row["negative_1"][-1] for row in many} <= {"a", "b"}


def test_instructions_take_turns(tmp_path):
    path = write_rows(tmp_path, PAIRS)
    rows = read_source(DataSource(path=path, instruction=["one", "two"], symmetric=True)).rows[
        "mine"
    ]
    assert rows["instruction"] == ["one", "two", "one", "two"] and all(rows["symmetric"])


def test_text_alone_is_its_own_positive_or_just_text(tmp_path):
    path = write_rows(tmp_path, [{"text": "one"}, {"text": "two"}])
    assert read_source(DataSource(path=path)).rows["mine"][1]["positive"] == "two"
    assert read_source(DataSource(path=path), texts_only=True).rows["mine"].column_names == ["text"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "", "positive": "p"}, "row 1: query is empty"),
        ({"query": "q", "positive": None}, "row 1: positive is None"),
        ({"query": "q", "positive": "p", "negative": "p"}, "row 1: negative_1 is the positive"),
    ],
)
def test_a_bad_row_is_named_or_left_out(tmp_path, row, message):
    good = {"query": "q", "positive": "p", "negative": "n"}
    path = write_rows(tmp_path, [good, {"negative": "n", **row}])
    with pytest.raises(ValueError, match=message):
        read_source(DataSource(path=path))
    found = read_source(DataSource(path=path), bad_rows="drop")
    assert found.about["mine"]["dropped"] == 1 and len(found.rows["mine"]) == 1


def test_wrong_columns_and_files_say_what_there_is(tmp_path):
    path = write_rows(tmp_path, [{"question": "q", "answer": "a"}])
    with pytest.raises(ValueError, match="no column query, positive; it has: question, answer"):
        read_source(DataSource(path=path))
    with pytest.raises(ValueError, match="there is no"):
        read_source(DataSource(path=str(tmp_path / "none.jsonl")))
    with pytest.raises(ValueError, match="exactly one of path, hub and wheel"):
        DataSource(path=path, hub="a/b")
    with pytest.raises(ValueError, match="valid: wordnet_substitutions"):
        read_source(DataSource(wheel="nothing"))


def test_overlap_counts_texts_that_differ_in_case_and_marks_only(tmp_path):
    rows = read_source(DataSource(path=write_rows(tmp_path, [{"text": "A man, running!"}]))).rows
    found = find_overlap(rows, {"Task": ["a man running", "a dog"]})["Task"]
    assert (found["texts"], found["shared"], found["examples"]) == (2, 1, ["a man running"])


def test_rows_that_cannot_be_kept_name_the_folder(tmp_path, monkeypatch):
    taken = write_file(tmp_path, "taken", "")
    monkeypatch.setattr("methods.training.data.HF_DATASETS_CACHE", str(taken))
    with pytest.raises(OSError, match="rows cannot be written to .*taken.*HF_DATASETS_CACHE"):
        read_texts(write_rows(tmp_path, PAIRS))


def test_columns_that_are_not_read_are_told(tmp_path, caplog):
    caplog.set_level("INFO")
    read_texts(write_rows(tmp_path, [{"query": "q", "positive": "p", "neg": ["n"], "id": 1}]))
    assert "data mine: columns that are not read: neg, id" in caplog.text


def test_json_files_differ_only_in_what_is_read(tmp_path):
    write_file(tmp_path, "a.jsonl", '{"query": "q", "positive": "p", "id": 1}')
    write_file(tmp_path, "b.jsonl", GOOD)
    assert len(read_texts(tmp_path)) == 2
    write_file(tmp_path, "c.jsonl", '{"query": "q", "positive": "p", "negative": "n"}')
    with pytest.raises(ValueError, match="files of one source have the same columns"):
        read_texts(tmp_path)


@pytest.mark.parametrize("empty", [[], None])
@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_number_of_negatives_is_that_of_all_rows(tmp_path, empty, place, kind):
    rows = [
        {"query": f"q{i}", "positive": f"p{i}", "negatives": [f"{i}a", f"{i}b"]} for i in (1, 2)
    ]
    rows[0]["negatives"] = ["1a"]
    rows.insert(place, {"query": "q", "positive": "p", "negatives": empty})
    path = write_rows(tmp_path, rows)
    if kind == "parquet":
        path = str(tmp_path / "a.parquet")
        Dataset.from_list(rows).to_parquet(path)
    with pytest.raises(ValueError, match=f"row {place}: it has no negatives, other rows have 2"):
        read_source(DataSource(path=path))
    found = read_source(DataSource(path=path), bad_rows="drop").rows["mine"]
    assert (found["negative_1"], found["negative_2"]) == (["1a", "2a"], ["1a", "2b"])
    assert (
        read_source(DataSource(path=path), bad_rows="drop", negatives=1).about["mine"]["rows"] == 2
    )
    assert (
        "negative_1"
        not in read_source(DataSource(path=path), negatives=0).rows["mine"].column_names
    )


def test_negatives_may_be_nested_in_several_ways(tmp_path):
    rows = [
        {"query": "q", "positive": "p", "negative": "n"},
        {"query": "r", "positive": "p", "negative": ["m", {"title": "T", "text": "t"}]},
    ]
    found = read_texts(write_rows(tmp_path, rows))
    assert (found["negative_1"], found["negative_2"]) == (["n", "m"], ["n", "T t"])


def test_a_column_that_only_later_rows_have_is_seen(tmp_path):
    rows = [{"query": "q", "positive": "p"}, {"query": "q", "positive": "p", "negative": "n"}]
    with pytest.raises(ValueError, match="row 0: negative_1 is None"):
        read_texts(write_rows(tmp_path, rows))


def test_rows_may_have_instructions_of_their_own(tmp_path):
    rows = [{**PAIRS[0], "instruction": "Find the answer"}, PAIRS[0]]
    path = write_rows(tmp_path, rows)
    assert read_texts(path)["instruction"] == ["Find the answer", ""]
    assert read_texts(path, instruction="Compare")["instruction"] == ["Compare"] * 2
    renamed = write_rows(tmp_path, [{"task" if k == "instruction" else k: v for k, v in row.items()}
                                    for row in rows], "b.jsonl")  # fmt: skip
    named = {"columns": {"instruction": "task"}}
    assert read_texts(renamed, **named)["instruction"] == ["Find the answer", ""]
    with pytest.raises(ValueError, match="has no column task"):
        read_texts(path, **named)
    with pytest.raises(ValueError, match="leave one out"):
        DataSource(path=path, instruction="Compare", **named)
    with pytest.raises(ValueError, match="row 0: instruction is 7, of type int, not text"):
        read_texts(write_rows(tmp_path, [{**PAIRS[0], "instruction": 7}], "c.jsonl"))


def test_more_negatives_than_there_are_is_logged(tmp_path, caplog):
    read_source(DataSource(path=write_rows(tmp_path, PAIRS)), negatives=7)
    assert "data mine: 7 negatives requested, rows have 2" in caplog.text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": "test"}, "config, split and files belong to a source with hub"),
        ({"limit": 0}, "limit is 0"),
        ({"columns": {"querry": "q"}}, "columns names querry; valid: query, positive, negatives"),
    ],
)
def test_a_source_ignores_nothing_that_it_is_given(fields, message):
    with pytest.raises(ValueError, match=message):
        DataSource(path="a.jsonl", **fields)
