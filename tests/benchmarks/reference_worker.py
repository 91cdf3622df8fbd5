"""Encode texts with another library, in that library's own environment, as references.py asks.

`python reference_worker.py KIND SETTINGS`, where SETTINGS is JSON. It imports nothing of dec2vec.
Its first line on standard output is {"about": ...} or {"failed": ...}. Then each line of JSON on
standard input is a task, and one line of JSON answers it:

    {"do": "ids", "inputs": FILE}                  {"ids": [[...], ...]}, null if it is given ids
    {"do": "vectors", "inputs": FILE, "out": NPY}  {"shape": [...]}, and NPY is written
    {"do": "encode", "inputs": FILE}               {"cpu": seconds, "wall": seconds}

FILE is JSON: `texts`, and `ids` for what takes token ids instead of texts.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Inputs = dict[str, Any]


class Reference(Protocol):
    """One model in one library. about: what a reader of the table wants to know of it."""

    about: str

    def encode(self, inputs: Inputs) -> np.ndarray: ...

    def tokenize(self, inputs: Inputs) -> list[list[int]] | None:
        """Return the ids that are encoded, or None where `encode` takes them from the inputs."""
        ...


def serve(load: Callable[[], Reference]) -> None:
    """Answer on standard output; whatever else writes there goes to standard error instead."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(found: dict[str, Any]) -> None:
        print(json.dumps(found), file=answers)

    try:
        reference = load()
        answer({"about": reference.about})
        for line in sys.stdin:
            answer(act(reference, json.loads(line)))
    except Exception as error:  # the parent puts it into its table
        answer({"failed": f"{type(error).__name__}: {error}"})
        raise


def act(reference: Reference, task: dict[str, Any]) -> dict[str, Any]:
    """Carry out one task."""
    inputs = json.loads(Path(task["inputs"]).read_text(encoding="utf-8"))
    if task["do"] == "ids":
        return {"ids": reference.tokenize(inputs)}
    wall, cpu = time.perf_counter(), time.process_time()
    vectors = reference.encode(inputs)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if task["do"] == "vectors":
        np.save(task["out"], vectors)
        return {"shape": list(vectors.shape)}
    return {"cpu": cpu, "wall": wall}


class LlamaCpp:
    """A GGUF file in llama.cpp's server, which xllamacpp runs inside this process.

    Token ids go in, float32 vectors come out as base64, not normalised. The candidates for its
    settings are timed on the first inputs, and the fastest encodes everything.
    """

    CANDIDATES = (
        {"slots": 1, "ubatch": 512, "flash": True, "unified": False},
        {"slots": 1, "ubatch": 512, "flash": False, "unified": False},
        {"slots": 32, "ubatch": 2048, "flash": True, "unified": False},
        {"slots": 32, "ubatch": 2048, "flash": True, "unified": True},
        {"slots": 32, "ubatch": 2048, "flash": False, "unified": True},
    )
    LONGEST = 512  # tokens of a text

    def __init__(self, settings: dict[str, Any]) -> None:
        self.path, tried = settings["path"], []
        inputs = json.loads(Path(settings["trial"]).read_text(encoding="utf-8"))
        for candidate in self.CANDIDATES:
            self.server = self._open(**candidate)  # it warms itself up
            start = time.process_time()
            self.encode(inputs)
            tried.append((time.process_time() - start, candidate))
            del self.server
        best = min(tried, key=lambda each: each[0])[1]
        self.server = self._open(**best)
        self.about = (
            f"xllamacpp {version('xllamacpp')} ({self._list_features()}), "
            f"n_parallel {best['slots']}, n_ubatch {best['ubatch']}, "
            f"flash attention {'on' if best['flash'] else 'off'}, "
            f"kv_unified {'on' if best['unified'] else 'off'}: fastest of {len(tried)} settings"
        )

    def _open(self, *, slots: int, ubatch: int, flash: bool, unified: bool) -> Any:
        import xllamacpp  # pyright: ignore[reportMissingImports]

        params = xllamacpp.CommonParams()
        params.model.path = self.path
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        kinds = xllamacpp.llama_flash_attn_type
        params.flash_attn_type = (
            kinds.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        params.n_parallel, params.n_ctx = slots, slots * self.LONGEST
        params.n_batch = params.n_ubatch = ubatch
        params.kv_unified = unified
        params.cache_prompt, params.cache_ram_mib = False, 0  # every round computes its tokens
        params.verbosity = -1
        return xllamacpp.Server(params)

    def _list_features(self) -> str:
        import xllamacpp  # pyright: ignore[reportMissingImports]

        found = [part.split("=")[0].strip() for part in xllamacpp.get_system_info().split("|")]
        return "built for " + ", ".join(name.removeprefix("CPU : ") for name in found if name)

    def tokenize(self, inputs: Inputs) -> None:
        return None

    def encode(self, inputs: Inputs) -> np.ndarray:
        ids = inputs["ids"]
        if (longest := max(map(len, ids))) > self.LONGEST:
            raise ValueError(f"a text has {longest} tokens; a slot holds {self.LONGEST}")
        found = self.server.handle_embeddings(
            {"input": ids, "embd_normalize": -1, "encoding_format": "base64"}
        )
        if "data" not in found:
            raise RuntimeError(f"llama.cpp answered {found}")
        if (read := found["usage"]["prompt_tokens"]) != (given := sum(map(len, ids))):
            raise RuntimeError(f"llama.cpp encoded {read} tokens of {given}")
        rows = sorted(found["data"], key=lambda row: row["index"])
        return np.stack([np.frombuffer(base64.b64decode(r["embedding"]), "float32") for r in rows])


class Exported:
    """sentence-transformers with `backend=onnx` or `openvino`, exported here once, on one thread.

    int8 is what sentence-transformers' own helpers make: dynamic for ONNX, static for OpenVINO,
    calibrated on texts that are not those measured.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(1)
        self.settings, self.backend = settings, settings["backend"]
        self.folder = Path(settings["folder"])
        plain = "onnx/model.onnx" if self.backend == "onnx" else "openvino/openvino_model.xml"
        if not (self.folder / plain).is_file():
            self._load(export=True).save_pretrained(str(self.folder))
        self.about = f"sentence-transformers {version('sentence-transformers')}, "
        self.about += f"{RUNTIMES[self.backend]} {version(RUNTIMES[self.backend])}"
        if settings["weights"] == "float32":
            self.model = self._load(file_name=plain.split("/")[-1])
            return
        name, how = self._find_int8()
        if not (self.folder / self.backend / name).is_file():
            self._quantize(self._load(file_name=plain.split("/")[-1]), name)
        self.model, self.about = self._load(file_name=name), f"{self.about}, {how}"

    def _load(self, **given: Any) -> Any:
        from sentence_transformers import SentenceTransformer

        if self.backend == "onnx":
            import onnxruntime  # pyright: ignore[reportMissingImports]

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            given |= {"session_options": options, "provider": "CPUExecutionProvider"}
        else:
            precise = {"INFERENCE_NUM_THREADS": "1", "INFERENCE_PRECISION_HINT": "f32"}
            given["ov_config"] = precise
        return SentenceTransformer(
            str(self.folder), backend=self.backend, device="cpu", model_kwargs=given
        )

    def _find_int8(self) -> tuple[str, str]:
        """Return the file's name and how it is quantised."""
        if self.backend == "openvino":
            return "openvino_model_qint8_quantized.xml", "static int8"
        return f"model_qint8_{find_instructions()}.onnx", f"dynamic int8 for {find_instructions()}"

    def _quantize(self, model: Any, name: str) -> None:
        from sentence_transformers import backend

        if self.backend == "onnx":
            backend.export_dynamic_quantized_onnx_model(
                model, find_instructions(), str(self.folder)
            )
        else:
            from optimum.intel import (  # pyright: ignore[reportMissingImports]
                OVQuantizationConfig,
            )

            backend.export_static_quantized_openvino_model(
                model,
                OVQuantizationConfig(num_samples=self.settings["samples"]),
                str(self.folder),
                dataset_name=self.settings["calibration"],
                dataset_config_name="default",
                dataset_split="train",
                column_name="text",
            )
        if not (self.folder / self.backend / name).is_file():
            raise RuntimeError(f"no {name} among {os.listdir(self.folder / self.backend)}")

    def tokenize(self, inputs: Inputs) -> list[list[int]]:
        cut = {"truncation": True, "max_length": self.model.max_seq_length}
        return self.model.tokenizer([text.strip() for text in inputs["texts"]], **cut)["input_ids"]

    def encode(self, inputs: Inputs) -> np.ndarray:
        found = self.model.encode(inputs["texts"], batch_size=32, show_progress_bar=False)
        return np.asarray(found)


RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}


def find_instructions() -> str:
    """Return the name that the ONNX quantiser has for this processor's integer instructions."""
    if platform.machine() in ("arm64", "aarch64"):
        return "arm64"
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.is_file() else set()
    for name, flag in (("avx512_vnni", "avx512_vnni"), ("avx512", "avx512f")):
        if flag in flags:
            return name
    return "avx2"


KINDS: dict[str, Callable[[dict[str, Any]], Reference]] = {
    "llamacpp": LlamaCpp,
    "exported": Exported,
}

if __name__ == "__main__":
    serve(lambda: KINDS[sys.argv[1]](json.loads(sys.argv[2])))
