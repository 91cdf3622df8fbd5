"""The parent's protocol and arithmetic, with workers that load nothing; no downloads."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import reference_files as files
from tests.benchmarks.references import (
    DEFAULT,
    OURS,
    Worker,
    check_ids,
    format_row,
    list_references,
    time_workers,
)

FAKE = """
import sys
sys.path.insert(0, {here!r})
import numpy as np
from reference_worker import serve

class Fake:
    about = "a fake"
    def __init__(self):
        print("a library's banner")  # must not reach the parent
        if "fail" in sys.argv:
            raise ValueError("no such backend")
    def tokenize(self, inputs):
        return None if "given" in sys.argv else [[len(text)] for text in inputs["texts"]]
    def encode(self, inputs):
        with open(sys.argv[1], "a") as log:
            log.write(sys.argv[2])
        sum(range(300_000))
        return np.array([[len(text), 1.0] for text in inputs["texts"]])

serve(Fake)
"""


@pytest.fixture
def start(tmp_path):
    script, workers = tmp_path / "fake.py", []
    script.write_text(FAKE.format(here=str(Path(__file__).parent)))

    def run(name, *words):
        command = [sys.executable, str(script), str(tmp_path / "order"), name, *words]
        workers.append(Worker(command, log=tmp_path / f"{name}.log"))
        return workers[-1]

    yield run
    for worker in workers:
        worker.close()


@pytest.fixture
def inputs(tmp_path):
    return files.write_json(tmp_path / "inputs.json", {"texts": ["a", "bcd"], "ids": [[1], [3]]})


def test_workers_answer_in_alternating_order_with_vectors_and_seconds(start, inputs, tmp_path):
    workers = {name: start(name) for name in "abc"}
    assert workers["a"].about == "a fake"
    out = tmp_path / "vectors.npy"
    assert workers["a"].ask("vectors", inputs=str(inputs), out=str(out))["shape"] == [2, 2]
    assert np.load(out).tolist() == [[1, 1], [3, 1]]
    (tmp_path / "order").unlink()
    seconds = time_workers(workers, inputs, rounds=2, clock="cpu")
    assert (tmp_path / "order").read_text() == "abccba"
    assert all(len(found) == 2 and min(found) > 0 for found in seconds.values())
    assert "a library's banner" in (tmp_path / "a.log").read_text()


def test_other_token_ids_are_refused_and_given_ids_are_not_asked_for(start, inputs):
    check_ids(start("a"), inputs, [[1], [3]])
    check_ids(start("b", "given"), inputs, [[9], [9]])
    with pytest.raises(RuntimeError, match="other token ids for 1 of 2 texts"):
        check_ids(start("c"), inputs, [[1], [4]])


def test_a_worker_that_fails_gives_its_reason(start, inputs, tmp_path):
    with pytest.raises(RuntimeError, match="ValueError: no such backend"):
        start("a", "fail")
    worker = start("b")
    with pytest.raises(RuntimeError, match="FileNotFoundError"):
        worker.ask("encode", inputs=str(tmp_path / "none.json"))
    dies = [sys.executable, "-c", "import os; os._exit(3)"]
    with pytest.raises(RuntimeError, match=r"ended with 3; .*dies\.log"):
        Worker(dies, log=tmp_path / "dies.log")


def test_ratios_are_within_a_round_and_differing_vectors_get_none():
    seconds = {OURS: [2.0, 4.0], DEFAULT: [1.0, 1.0], "near": [4.0, 8.0], "far": [1.0, 1.0]}
    ours = np.array([[1.0, 0.0], [0.0, 1.0]])
    vectors = {OURS: ours, DEFAULT: ours, "near": 3 * ours, "far": ours[::-1], "nan": ours * np.nan}
    assert format_row(seconds, "near", vectors, tokens=60) == [
        "10", "6.00x (4.00-8.00)", "2.00x (2.00-2.00)", "1.00000, 1.00000",
    ]  # fmt: skip
    assert format_row(seconds, OURS, vectors, tokens=60)[2] == "1"
    assert format_row(seconds, DEFAULT, vectors, tokens=60)[1] == "1"
    for title in ("far", "nan"):
        assert "its vectors differ" in format_row(seconds, title, vectors, tokens=60)


def test_references_of_an_encoder_leave_out_llama_cpp_and_flash_attention_says_why(monkeypatch):
    monkeypatch.setattr(files, "find_gguf", lambda model: None)
    args = Namespace(device="cpu", environments=["llamacpp", "onnx"], samples=8)
    rows = {row.title: row for row in list_references("minilm_l6", args)}
    assert list(rows)[:2] == [OURS, DEFAULT]
    assert not [title for title in rows if "llama.cpp" in title or "openvino" in title]
    assert rows["sentence-transformers, flash attention, unpadded"].skipped == "needs --device cuda"
    cuda = list_references("minilm_l6", Namespace(device="cuda", environments=["onnx"]))
    assert not any(row.skipped for row in cuda)
    assert {row.environment for row in cuda} == {"own"}


def test_an_environment_with_its_requirements_is_reused(tmp_path, monkeypatch):
    monkeypatch.setitem(files.ENVIRONMENTS, "none", ("package==1",))
    place = tmp_path / "none"
    files.write_json(place / "bin" / "python", "")
    (place / "requirements.txt").write_text("package==1\n")
    assert files.build_environment("none", folder=tmp_path) == place / "bin" / "python"
    assert files.build_environment("own") == Path(sys.executable)


def test_a_folder_for_transformers_4_has_its_names(tmp_path, monkeypatch):
    source = tmp_path / "source"
    config = {"hidden_size": 4, "rope_parameters": {"rope_theta": 100000.0}}
    files.write_json(source / "config.json", config)
    files.write_json(source / "tokenizer.json", {})
    files.write_json(source / "tokenizer_config.json", {"tokenizer_class": "TokenizersBackend"})
    fetched = Namespace(fetch=lambda: Namespace(location=str(source)))
    monkeypatch.setattr(files, "fetch_source", lambda model: fetched)
    folder = files.write_folder("any", tmp_path / "made", max_length=None)
    assert json.loads((folder / "config.json").read_text())["rope_theta"] == 100000.0
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_gguf_file_of_16_bits_keeps_values_and_metadata(tmp_path):
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
    from gguf.quants import dequantize, quantize

    matrix = np.random.default_rng(0).normal(size=(4, 32)).astype(np.float32)
    packed = quantize(matrix, GGMLQuantizationType.Q8_0)
    writer = GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_token_list(["a", "b"])
    writer.add_rope_freq_base(100000.0)
    writer.add_tensor("blk.0.weight", packed, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.add_tensor("norm.weight", matrix[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    made = GGUFReader(files.write_gguf_16_bit(tmp_path / "a.gguf", tmp_path / "b.gguf"))
    kinds = {tensor.name: tensor.tensor_type.name for tensor in made.tensors}
    assert kinds == {"blk.0.weight": "F16", "norm.weight": "F32"}
    whole = dequantize(packed, GGMLQuantizationType.Q8_0)
    np.testing.assert_allclose(made.tensors[0].data, whole, rtol=1e-3)
    assert made.fields["tokenizer.ggml.tokens"].contents() == ["a", "b"]
    assert made.fields["llama.rope.freq_base"].contents() == 100000.0
