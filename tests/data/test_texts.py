"""Texts streamed out of files: formats, columns, patterns, and what is wrong with rows."""

import json

import pandas as pd
import pytest

from methods.data.calibration import read_calibration_texts
from methods.data.texts import RowChecks, TextFiles, TextRow, find_text_files

ROWS = [{"text": "one, two", "id": 7}, {"text": 'a "quoted"\nline', "id": 8}]


def write(folder, suffix):
    file = folder / f"rows.{suffix}"
    if suffix == "parquet":
        pd.DataFrame(ROWS).assign(other="unread").to_parquet(file)
    elif suffix == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        pd.DataFrame(ROWS).to_csv(file, index=False)
    return file


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_texts_and_ids_are_read_from_each_format(suffix, tmp_path):
    write(tmp_path, suffix)
    rows = list(TextFiles(find_text_files(str(tmp_path)), "text", "id").rows())
    assert [row.text for row in rows] == [row["text"] for row in ROWS]
    assert [str(row.id) for row in rows] == ["7", "8"]
    assert [row.number for row in rows] == [row.row for row in rows] == [0, 1]


def test_lines_of_text_are_texts_and_rows_are_numbered_over_files(tmp_path):
    for name in ("b.txt", "a.txt"):
        (tmp_path / name).write_bytes(f"{name} one\r\n{name} two".encode())
    files = find_text_files(str(tmp_path / "*.txt"))
    rows = list(TextFiles(files, "text").rows())
    assert [row.text for row in rows] == ["a.txt one", "a.txt two", "b.txt one", "b.txt two"]
    assert [row.id for row in rows] == [0, 1, 2, 3] and rows[2].place.endswith("b.txt, row 0")


def test_files_that_are_not_there_or_no_stream_are_named(tmp_path):
    with pytest.raises(ValueError, match="in=nowhere: there is no such file or folder"):
        find_text_files("nowhere")
    (tmp_path / "one.json").write_text("[]")
    with pytest.raises(ValueError, match="one JSON array, which cannot be streamed"):
        find_text_files(str(tmp_path / "one.json"))
    (tmp_path / "b.txt").write_text("x")
    (tmp_path / "b.csv").write_text("text\nx")
    with pytest.raises(ValueError, match="valid are files of one kind: parquet, jsonl, csv"):
        find_text_files(str(tmp_path))
    file = str(tmp_path / "b.txt")
    with pytest.raises(ValueError, match="is named twice in in="):
        find_text_files([file, file])
    with pytest.raises(ValueError, match="has no column body; it has: text. Name another: column"):
        list(TextFiles(find_text_files(str(tmp_path / "b.csv")), "body").rows())
    with pytest.raises(ValueError, match="has no column key; .* Name another: id=NAME"):
        list(TextFiles(find_text_files(str(tmp_path / "b.csv")), "text", "key").rows())


@pytest.mark.parametrize(
    ("text", "id", "fault"),
    [
        ("fine", "a", None),
        (None, "a", "its text is 'None'"),
        (3, "a", "its text is '3', of type int"),
        ("  ", "a", "its text is '  '"),
        ("\ud800", "a", "its text has half a surrogate pair at character 0"),
        ("fine", "\udfff", "its id has half a surrogate pair"),
        ("fine", None, "its id is 'None'; an id is a text or a whole number"),
        ("fine", 1.5, "an id is a text or a whole number"),
        ("fine", True, "an id is a text or a whole number"),
        ("fine", 1 << 63, "does not fit into 64 bits"),
    ],
)
def test_what_is_wrong_with_a_row(text, id, fault):
    with RowChecks() as checks:
        found = checks.find_fault(TextRow(0, "f", 0, text, id), has_ids=True)
    assert found is None if fault is None else fault in found


def test_ids_that_repeat_or_change_their_type_are_faults():
    with RowChecks() as checks:
        rows = [TextRow(n, "f", n, "x", id) for n, id in enumerate(["1", "2", "1", 1])]
        found = [checks.find_fault(row, has_ids=True) for row in rows]
    assert found[:2] == [None, None]
    assert "number 0 of all" in found[2] and "of another type" in found[3]


def test_calibration_texts_are_spread_over_a_file(tmp_path):
    file = tmp_path / "many.txt"
    file.write_text("\n".join(f"line {n}" for n in range(3500)))
    texts = read_calibration_texts(str(file))
    assert len(texts) == 1000 and texts[:2] == ["line 0", "line 3"]
