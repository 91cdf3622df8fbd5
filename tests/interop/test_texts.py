"""The texts of a comparison, and vectors, from files of every kind."""

import json

import numpy as np
import pandas as pd
import pytest

from methods.interop.texts import TELLING, choose_texts
from methods.interop.trace_vectors import read_vectors

TEXTS = ["one", "", "  three ", "vier, fünf"]


def test_the_built_in_texts_are_24_different_ones_and_two_are_long():
    texts, source = choose_texts(None)
    assert len(texts) == len(set(texts)) == 24 and source == "built-in texts"
    assert "" in texts and sum(len(text.split()) > 200 for text in texts) == 2
    assert choose_texts(None, limit=3)[0] == list(TELLING[:3])


@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv", "parquet"])
def test_texts_are_read_as_they_are(kind, tmp_path):
    file = tmp_path / f"texts.{kind}"
    table = pd.DataFrame({"id": range(4), "text": TEXTS})
    if kind == "txt":
        file.write_bytes("\r\n".join(TEXTS).encode() + b"\n")
    elif kind == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records")))
    else:
        getattr(table, f"to_{kind}")(file, index=False)
    assert choose_texts(str(file)) == (TEXTS, f"texts of {file}")
    if kind != "txt":
        assert choose_texts(file, column="id", limit=1)[0] == ["0"] if kind == "csv" else True
        with pytest.raises(ValueError, match="no column 'name'; it has: id, text"):
            choose_texts(file, column="name")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.txt", "there is no file nowhere.txt"),
        ([], "texts: there is none"),
        (["a", 3], "text 1 is int, not a string"),
    ],
)
def test_what_are_no_texts_is_an_error(given, message):
    with pytest.raises(ValueError, match=message):
        choose_texts(given)


def test_vectors_are_read_from_every_kind_of_file(tmp_path):
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    rows = [{"text": "a", "embedding": row.tolist()} for row in vectors]
    np.save(tmp_path / "v.npy", vectors)
    pd.DataFrame(rows).to_parquet(tmp_path / "v.parquet")
    (tmp_path / "v.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for kind in ("npy", "parquet", "jsonl"):
        assert np.array_equal(read_vectors(tmp_path / f"v.{kind}"), vectors)
    (tmp_path / "w.jsonl").write_text('{"v": [1, 2]}\n{"v": [1]}\n')
    with pytest.raises(ValueError, match="row 1 has 1 values, the first has 2"):
        read_vectors(tmp_path / "w.jsonl")
    (tmp_path / "x.jsonl").write_text('{"v": "a"}\n')
    with pytest.raises(ValueError, match="has no column with lists of numbers, among v"):
        read_vectors(tmp_path / "x.jsonl")
    (tmp_path / "y.npy").write_bytes(b"no")
    with pytest.raises(ValueError, match="y.npy cannot be read"):
        read_vectors(tmp_path / "y.npy")
    with pytest.raises(ValueError, match="valid: .npy, .parquet, .jsonl"):
        read_vectors(tmp_path / "v.bin")
