"""Files of training rows: each format by its own rules, and a broken file named with its line."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from methods.data.readers import open_table
from methods.training.data import DataSource
from tests.data.sources import GOOD, read_source, read_texts, write_file, write_rows


def test_files_of_every_kind_give_the_same_rows(tmp_path):
    plain = [{"query": f"q{i}", "positive": f"p{i}", "negative": f"n{i}"} for i in range(3)]
    table = Dataset.from_list(plain)
    table.to_parquet(str(tmp_path / "a.parquet"))
    table.to_csv(str(tmp_path / "a.csv"), index=False)
    table.to_csv(str(tmp_path / "a.tsv"), index=False, sep="\t")
    kinds = ["a.parquet", "a.csv", "a.tsv"]
    paths = [*(str(tmp_path / kind) for kind in kinds), write_rows(tmp_path, plain)]
    found = [read_source(DataSource(path=path)) for path in paths]
    assert len({one.about["mine"]["sha256"] for one in found}) == 1
    assert found[0].rows["mine"].column_names[:3] == ["query", "positive", "negative_1"]


def test_tevatron_passages_and_llama_index_files_are_read(tmp_path):
    passage = {"docid": "1", "title": "T", "text": "body"}
    rows = [{"query": "q", "positive_passages": [passage], "negative_passages": [passage] * 3}]
    columns = {"positive": "positive_passages", "negatives": "negative_passages"}
    rows[0]["negative_passages"] = [{**passage, "text": str(i)} for i in range(3)]
    found = read_source(DataSource(path=write_rows(tmp_path, rows), columns=columns), negatives=2)
    assert found.rows["mine"][0]["positive"] == "T body"
    file = tmp_path / "qa.json"
    content = {"queries": {"1": "q"}, "corpus": {"d": "p"}, "relevant_docs": {"1": ["d"]}}
    file.write_text(json.dumps(content))
    row = read_source(DataSource(path=str(file))).rows["mine"][0]
    assert (row["query"], row["positive"]) == ("q", "p")


def test_tsv_has_no_quotes(tmp_path):
    lines = ['query\tpositive\n"x\tp0', 'say "a\tp1', '"b" c\tp2"', '"""\t"p3"']
    rows = read_texts(write_file(tmp_path, "a.tsv", "\n".join(lines)))
    assert rows["query"] == ['"x', 'say "a', '"b" c', '"""'] and rows["positive"][2:] == [
        'p2"',
        '"p3"',
    ]


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_texts_of_a_table_are_the_strings_they_are(tmp_path, ending):
    odd = ["NA", "None", "null", "nan", "007", "1.0", "True", "2020-01-01", "#x", " a ", "é\u2028b"]
    mark = "," if ending == "csv" else "\t"
    text = "".join(f"{one}{mark}p{i}\r\n" for i, one in enumerate(odd))
    path = write_file(tmp_path, f"a.{ending}", f"\ufeffquery{mark}positive\r\n{text}")
    assert read_texts(path)["query"] == odd


def test_csv_follows_rfc_4180(tmp_path):
    content = 'query,positive\n"a, ""b""\r\nc",p\nx "y" z,q\n\n'
    rows = read_texts(write_file(tmp_path, "a.csv", content))
    assert rows["query"] == ['a, "b"\r\nc', 'x "y" z'] and rows["positive"] == ["p", "q"]
    assert (
        len(read_texts(write_file(tmp_path, "b.csv", f"query,positive\n{'x' * 200_000},p\n"))) == 1
    )


def test_json_texts_that_look_like_dates_stay_texts(tmp_path):
    dates = [{"query": "2020-01-01", "positive": "2020-01-01T00:00:00Z"}]
    assert read_texts(write_rows(tmp_path, dates))[0]["positive"] == "2020-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("name", "content", "message"),
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
        (
            "a.csv",
            "query\tpositive\na\tb\n",
            r"separated by tabs, not by commas. Rename it to a.tsv",
        ),
        ("a.tsv", "query,positive\na,b\n", r"separated by commas, not by tabs. Rename it to a.csv"),
        ("a.csv", "query;positive\na;b\n", r"separated by semicolons, .* Save it with commas"),
        ("a.json", '[{"query": "a", "query": "b"}]', r"a.json: one object names 'query' twice"),
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
            "a.jsonl.gz is compressed, which is not supported; unpack it",
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
def test_a_broken_file_is_named_with_its_line(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read_texts(write_file(tmp_path, name, content))


def test_llama_index_ids_that_lead_nowhere_are_named(tmp_path):
    content = {"queries": {"1": "q"}, "corpus": {"d": "p"}, "relevant_docs": {"1": ["d", "e"]}}
    with pytest.raises(ValueError, match=r"qa.json: query '1' names document 'e', corpus lacks"):
        read_texts(write_file(tmp_path, "qa.json", json.dumps(content)))
    content["relevant_docs"] = {"1": [["d"]]}
    with pytest.raises(ValueError, match=r"qa.json: query '1' names document \['d'\], corpus"):
        read_texts(write_file(tmp_path, "qa.json", json.dumps(content)))
    content["relevant_docs"] = {"2": ["d"]}
    with pytest.raises(ValueError, match=r"qa.json: relevant_docs names query '2', queries lacks"):
        read_texts(write_file(tmp_path, "qa.json", json.dumps(content)))


def test_a_row_is_found_by_its_place(tmp_path):
    lines = write_file(tmp_path, "a.csv", 'query,positive\n"a\nb",p\n\nc,q\n')
    assert [place for place, _ in open_table(lines).iterate_places()] == ["line 2", "line 5"]
    objects = write_file(tmp_path, "a.json", f"[{GOOD}, {GOOD}]")
    assert [place for place, _ in open_table(objects).iterate_places()] == ["row 0", "row 1"]


def test_a_folder_is_read_file_by_file_and_its_columns_agree(tmp_path):
    folder = tmp_path / "it's mine [1]"
    folder.mkdir()
    write_file(folder, "a.csv", 'query,positive\n"a,b",p\n')
    write_file(folder, "b.tsv", 'positive\tquery\np\t"c\n')
    assert read_texts(folder)["query"] == ["a,b", '"c']
    write_file(folder, "c.csv", "question,answer\nq,a\n")
    with pytest.raises(ValueError, match=r"a.csv has positive, query, .*c.csv has answer, quest"):
        read_texts(folder)


def test_a_folder_with_a_file_that_is_compressed_is_not_read_in_part(tmp_path):
    write_file(tmp_path, "a.jsonl", GOOD)
    (tmp_path / "b.jsonl").mkdir()  # a folder is no file, whatever its name
    assert len(read_texts(tmp_path)) == 1
    write_file(tmp_path, "c.jsonl.gz", gzip.compress(GOOD.encode(), mtime=0))
    with pytest.raises(
        ValueError, match="c.jsonl.gz is compressed, which is not supported; unpack it"
    ):
        read_texts(tmp_path)


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
        read_texts(file)
