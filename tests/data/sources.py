"""Files of training rows made for a test, and what is read of them."""

import json

from methods.training.data import Data, DataSource, load

GOOD = '{"query": "q", "positive": "p"}'


def read_source(source, *, negatives=None, texts_only=False, **more):
    data = Data(sources={"mine": source}, **more)
    return load(data, texts_only=texts_only, negatives=negatives, seed=0)


def write_rows(tmp_path, rows, name="rows.jsonl"):
    file = tmp_path / name
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return str(file)


def read_texts(path, **more):
    return read_source(DataSource(path=str(path), **more)).rows["mine"]


def write_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
