"""`dec2vec encode` as a user runs it, in processes of its own."""

import json
import signal
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.cli.test_evaluate import dec2vec, started, write_readme_files

BASE = ["encode", "method=sgpt", "model=tiny", "in=texts.jsonl", "id=key", "shard_rows=40"]


@pytest.fixture
def folder(tmp_path):
    rows = [{"body": f"text {n} of {n * n}", "key": f"k{n}"} for n in range(200)]
    lines = [json.dumps({"text": row["body"], **row}) + "\n" for row in rows]
    (tmp_path / "texts.jsonl").write_text("".join(lines))
    return tmp_path


def read_shards(out):
    return {file.name: file.read_bytes() for file in sorted(out.glob("shard-*"))}


def test_a_worker_that_is_killed_loses_and_doubles_nothing(folder):
    code, output = dec2vec(*BASE, "out=whole", cwd=folder)
    assert code == 0, output
    assert "whole: 200 vectors of 32 float32 in 5 shards" in output
    killed = started(*BASE, "out=shared", cwd=folder)
    while not list((folder / "shared").glob("shard-*")) and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    workers = [started(*BASE, "out=shared", cwd=folder) for _ in range(2)]
    outputs = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert read_shards(folder / "shared") == read_shards(folder / "whole")
    names = sorted(p.name for p in (folder / "shared").iterdir() if p.name[0] != ".")
    assert names == ["manifest.json", *read_shards(folder / "whole")]
    ids = [k for f in names[1:] for k in pq.read_table(folder / "shared" / f)["id"].to_pylist()]
    assert ids == [f"k{n}" for n in range(200)]


def test_jobs_of_a_sweep_share_the_shards(folder):
    words = ["-m", "worker=range(2)", "out=swept", "hydra/launcher=processes"]
    code, output = dec2vec(*BASE, *words, cwd=folder)
    assert code == 0, output
    manifest = json.loads((folder / "swept" / "manifest.json").read_text())
    assert [shard["rows"] for shard in manifest["shards"].values()] == [40] * 5
    assert "worker" not in manifest["made_with"]["command"]


def test_a_method_of_ones_own_encodes_into_arrays_of_bits(folder):
    write_readme_files(folder)
    words = ["encode", "--config-dir", "mine", "method=shout", "model=tiny", "in=texts.jsonl"]
    words += ["column=body", "out=bits", "format=npy", "post=dims:16+binary"]
    code, output = dec2vec(*words, cwd=folder)
    assert code == 0, output
    found = np.load(folder / "bits" / "shard-00000.npy")
    assert found.dtype == np.uint8 and found.shape == (200, 2)
    assert np.load(folder / "bits" / "shard-00000-ids.npy").tolist() == list(range(200))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["out=o", "column=body2"], "texts.jsonl, row 0: its text is 'None'"),
        (["out=o", "id=body"], None),
        (["id=key"], "out has no value yet; give out=OUT"),
        (["out=o", "shard_rows=0"], "shard_rows is 0; it is a number of rows, 1 or more"),
        (["out=o", "side=both"], "side 'both' is unknown; valid: query, document, symmetric"),
        (["out=o", "pooling=[last,mean]"], "pooling, layer, normalize and post take one value"),
        (["out=o", "post=[int8,binary]", "fit_on=texts.jsonl"], "Steps of post are joined by"),
        (["out=o", "report=sts"], "report=sts has no effect on dec2vec encode; leave it out"),
        (["out=o", "instruction=x"], "SGPT uses no instruction for side=document"),
        (["out=o", "method=e5_instruct", "side=query"], "give instruction='...', or side=document"),
        (["out=o", "input=x"], "input is no key of dec2vec encode; write in=x"),
        (["out=o", "tasks=sts"], "tasks is no key of dec2vec encode, but of dec2vec evaluate"),
        (["out=o", "in=nowhere"], "in=nowhere: there is no such file or folder"),
        (["out=o", "in=5"], "in 5 is not valid; it takes text, a list of texts"),
    ],
)
def test_what_cannot_be_encoded_ends_in_a_message(words, message, folder):
    given = {"method": "method=sgpt", "in": "in=texts.jsonl", "model": "model=tiny"}
    given |= {word.split("=")[0]: word for word in words}
    code, output = dec2vec("encode", *given.values(), cwd=folder)
    if message is None:
        assert code == 0, output
        return
    assert code == 1 and message in output and "Traceback" not in output, output
