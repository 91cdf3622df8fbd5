"""Files of texts to shards of vectors: what is written, resumed, shared and refused."""

import json
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest

from methods.data.texts import TextFiles, find_text_files
from methods.encoding import bulk
from methods.encoding.bulk import BulkJob
from methods.encoding.shards import ShardFolder

TEXTS = [f"text {number} " + "word " * (number % 7) for number in range(23)]


def write_jsonl(file, texts=TEXTS, **more):
    rows = [{"text": text, "key": f"k{n}"} for n, text in enumerate(texts)]
    file.write_text("".join(json.dumps(row | more) + "\n" for row in rows))
    return file


@pytest.fixture
def make(tmp_path, encoder):
    def make_job(out="out", *, file=None, form="parquet", id="key", post=None, **options):
        file = file or write_jsonl(tmp_path / "texts.jsonl")
        (tmp_path / out).mkdir(exist_ok=True)
        more = options.pop("encoder", {})
        files = find_text_files(str(file))
        return BulkJob(
            TextFiles(files, "text", id),
            ShardFolder(tmp_path / out, form),
            {"encoder": {"method": "sgpt", "post": post}},
            lambda: encoder("sgpt", post=post, **more),
            shard_rows=options.pop("shard_rows", 5),
            **options,
        )

    return make_job


def read(folder):
    tables = [pq.read_table(file) for file in sorted(folder.glob("shard-*.parquet"))]
    ids = [id for table in tables for id in table["id"].to_pylist()]
    return ids, np.array([v for table in tables for v in table["vector"].to_pylist()])


def read_bytes(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}


def test_vectors_stand_with_their_ids_in_order(make, encoder, tmp_path):
    manifest = make().run()
    ids, vectors = read(tmp_path / "out")
    assert ids == [f"k{n}" for n in range(23)]
    plain = encoder("sgpt").encode(TEXTS, prompt_type="document")
    assert np.allclose(vectors, plain, atol=1e-5)
    assert manifest["vectors"] == {"type": "float32", "size": 32}
    assert [shard["rows"] for shard in manifest["shards"].values()] == [5, 5, 5, 5, 3]
    assert (tmp_path / "out" / ".locks" / "folder.lock").is_file()  # others may be opening it
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        ".locks",
        "manifest.json",
        *(f"shard-0000{n}.parquet" for n in range(5)),
    ]


@pytest.mark.parametrize("post", [None, "dims:8", "binary"])
def test_arrays_hold_the_same_as_parquet(post, make, tmp_path):
    make(post=post).run()
    make("arrays", form="npy", post=post).run()
    ids, vectors = read(tmp_path / "out")
    parts = [np.load(tmp_path / "arrays" / f"shard-0000{n}.npy") for n in range(5)]
    names = [np.load(tmp_path / "arrays" / f"shard-0000{n}-ids.npy") for n in range(5)]
    assert np.array_equal(np.concatenate(parts), vectors)
    assert np.concatenate(names).tolist() == ids
    assert parts[0].shape == (5, {None: 32, "dims:8": 8, "binary": 4}[post])


def test_ranges_are_measured_once_and_written(make, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(TEXTS))
    make(post="int8", encoder={"fit_on": str(corpus)}).run()
    ranges = np.load(tmp_path / "out" / "ranges.npy")
    _, vectors = read(tmp_path / "out")
    assert ranges.shape == (2, 32) and vectors.min() == -128 and vectors.max() == 127
    low, high = ranges
    plain = read_plain(make, tmp_path)
    assert np.abs(low + (vectors + 128.5) * (high - low) / 255 - plain).max() < 0.02


def read_plain(make, tmp_path):
    make("plain").run()
    return read(tmp_path / "plain")[1]


def test_a_run_that_stops_anywhere_resumes_to_the_same_bytes(make, tmp_path, monkeypatch):
    make("whole").run()
    encode = BulkJob._encode_chunk
    for stop in range(1, 6):
        left = stop

        def fail(self, *arguments):
            nonlocal left
            left -= 1
            if not left:
                raise KeyboardInterrupt
            return encode(self, *arguments)

        out = f"stopped{stop}"
        monkeypatch.setattr(BulkJob, "_encode_chunk", fail)
        with pytest.raises(KeyboardInterrupt):
            make(out).run()
        done = {p.name: p.stat().st_mtime_ns for p in (tmp_path / out).glob("shard-*")}
        assert len(done) == stop - 1
        monkeypatch.setattr(BulkJob, "_encode_chunk", encode)
        make(out).run()
        assert read_bytes(tmp_path / out) == read_bytes(tmp_path / "whole")
        assert all((tmp_path / out / n).stat().st_mtime_ns == t for n, t in done.items())


def test_a_finished_output_needs_no_model(make):
    make().run()
    again = make()
    again.make_encoder = lambda: pytest.fail("the model was loaded")
    assert len(again.run()["shards"]) == 5


def test_threads_share_the_shards_and_none_is_encoded_twice(make, tmp_path, monkeypatch):
    make("whole").run()
    monkeypatch.setattr(bulk, "WAIT_SECONDS", 0.01)
    encoded = []
    encode = BulkJob._encode_shard
    monkeypatch.setattr(
        BulkJob, "_encode_shard", lambda s, n, *more: (encoded.append(n), encode(s, n, *more))
    )
    workers = [threading.Thread(target=make("shared").run) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(encoded) == list(range(5))
    assert read_bytes(tmp_path / "shared") == read_bytes(tmp_path / "whole")


def test_a_chunk_ends_at_so_many_rows_or_characters(make, tmp_path, monkeypatch):
    make("whole").run()
    monkeypatch.setattr(bulk, "CHUNK_ROWS", 2)
    make("rows").run()
    monkeypatch.setattr(bulk, "CHUNK_CHARACTERS", 10)
    make("characters").run()
    for out in ("rows", "characters"):
        ids, vectors = read(tmp_path / out)
        assert ids == read(tmp_path / "whole")[0]
        assert np.allclose(vectors, read(tmp_path / "whole")[1], atol=1e-5)


def test_rows_that_cannot_be_encoded_are_errors_or_left_out(make, tmp_path):
    file = write_jsonl(tmp_path / "bad.jsonl", ["one", " ", "two", "three", "four"])
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[3]["key"] = "k0"
    rows[4]["text"] = None
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first = r"3 of 5 rows .*bad.jsonl, row 1: its text is ' '; "
    second = ".*row 3: its id 'k0' is that of an earlier row, number 0"
    with pytest.raises(ValueError, match=first + second):
        make(file=file).run()
    assert not (tmp_path / "out" / "manifest.json").exists()
    manifest = make(file=file, bad_rows="drop", shard_rows=2).run()
    assert read(tmp_path / "out")[0] == ["k0", "k2"]
    assert (manifest["rows"], manifest["dropped"]) == (5, 3)
    assert manifest["shards_rows"] == [1, 1, 0]
    dropped = (tmp_path / "out" / "dropped.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in dropped] == [1, 3, 4]


def test_another_input_or_encoder_is_refused_by_name(make, tmp_path):
    make().run()
    other = make()
    other.about = {"encoder": {"method": "echo", "post": None}}
    with pytest.raises(ValueError, match="made with another encoder: method sgpt, now echo; give"):
        other.run()
    with (tmp_path / "texts.jsonl").open("a") as stream:
        stream.write('{"text": "more", "key": "new"}\n')
    changed = make(file=tmp_path / "texts.jsonl")
    with pytest.raises(ValueError, match="holds vectors of other input: .*texts.jsonl differ"):
        changed.run()


def test_a_folder_with_other_files_is_refused(make, tmp_path):
    job = make()
    (tmp_path / "out" / "notes.md").write_text("mine")
    with pytest.raises(ValueError, match="holds notes.md and no manifest.json; give an empty"):
        job.run()


def test_an_error_of_the_encoder_names_the_row(make, tmp_path, encoder):
    job = make(id=None)

    class Refusing:
        shared = encoder("sgpt").shared
        post = encoder("sgpt").post

        def encode(self, texts, **_):
            raise ValueError("text 2 gives a vector that is not finite")

    job.make_encoder = Refusing
    with pytest.raises(
        ValueError, match="texts.jsonl, row 2: it gives a vector that is not finite"
    ):
        job.run()
    assert not list((tmp_path / "out").glob("*shard*"))


def test_rows_without_ids_are_numbered(make, tmp_path):
    make(id=None).run()
    assert read(tmp_path / "out")[0] == list(range(23))
