"""Measure dec2vec beside other ways to run the same weights: sentence-transformers, llama.cpp,
ONNX and OpenVINO.

`python -m tests.benchmarks.references --out tests/benchmarks/REFERENCES.md`. Each reference is a
process of its own, in an environment of its own, with the model loaded and warm; rounds alternate
their order, and a ratio is taken within a round. CPU time of one thread each; with --device cuda
the clock. A reference whose vectors differ from ours gets no ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from methods.provenance import find_commit, find_processor
from tests.benchmarks import reference_files as files
from tests.benchmarks.measure import (
    compute_cosines,
    format_ratio,
    make_passages,
    make_sentences,
    write_table,
)

HERE = Path(__file__).parent
MODELS: dict[str, dict[str, Any]] = {
    "smollm2_135m": {"method": "sgpt", "pooling": "mean"},
    "minilm_l6": {"method": "sentence_encoder", "max_length": 256},  # the decoder's is 8,192
}
OURS, DEFAULT = "dec2vec, float32", "dec2vec, default dtype"
NEAR = 0.99  # mean cosine to ours in float32, under which speed is not compared
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **{"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"},
}


@dataclass
class Reference:
    """One row: what runs, where, and what came of it. skipped: why there is no figure."""

    title: str
    environment: str
    kind: str
    settings: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""
    about: str = ""


class Worker:
    """A process that answers a line of JSON with a line of JSON."""

    def __init__(self, command: Sequence[str], *, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **ONE_THREAD},
                cwd=files.ROOT,
            )
        self.about = self._read()["about"]

    def ask(self, do: str, **task: Any) -> dict[str, Any]:
        """Return the answer to one task. Raises RuntimeError with the worker's own reason."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **task}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended: what it wrote last is the reason
        return self._read()

    def close(self) -> None:
        self.process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            raise RuntimeError(f"the worker ended with {code}; {self.log} has its messages")
        found = json.loads(line)
        if "failed" in found:
            self.process.communicate()
            raise RuntimeError(found["failed"])
        return found


def list_references(model: str, args: argparse.Namespace) -> list[Reference]:
    """Return every reference of a model, ours first."""
    made = files.FOLDER / "models"
    own: dict[str, Any] = {**MODELS[model], "model": model, "device": args.device}
    rows = [
        Reference(OURS, "own", "own", {**own, "dtype": "float32"}),
        Reference(DEFAULT, "own", "own", {**own, "dtype": "auto"}),
    ]
    for dtype in ("float32", "bfloat16"):
        title = f"sentence-transformers, {dtype}"
        rows.append(Reference(title, "own", "torch", {**own, "dtype": dtype}))
    flash = Reference("sentence-transformers, flash attention, unpadded", "own", "flash", own)
    if args.device == "cpu":
        flash.skipped = "needs --device cuda"
        rows += [flash, *list_llama_files(model, made)]
        for backend in ("onnx", "openvino"):
            for weights in ("float32", "int8"):
                given = {
                    "backend": backend,
                    "weights": weights,
                    "folder": str(made / f"{model}-{backend}"),
                    "calibration": str(files.FOLDER / "calibration"),
                    "samples": args.samples,
                }
                title = f"sentence-transformers, {backend}, {weights}"
                rows.append(Reference(title, backend, "exported", given))
    else:
        rows.append(flash)
    return [row for row in rows if row.environment in ("own", *args.environments)]


def list_llama_files(model: str, made: Path) -> list[Reference]:
    """Return llama.cpp with the file that the model comes as, and with 16-bit weights from it."""
    gguf = files.find_gguf(model)
    trial = str(files.FOLDER / "inputs" / f"{model}-trial.json")
    rows = []
    if gguf is not None:
        half = files.write_gguf_16_bit(gguf, made / f"{model}-f16.gguf")
        for title, path in ((gguf.stem.split(".")[-1], gguf), ("float16", half)):
            settings = {"path": str(path), "trial": trial}
            rows.append(Reference(f"llama.cpp, {title}", "llamacpp", "llamacpp", settings))
    return rows


def start_worker(row: Reference, model: str) -> Worker:
    """Start the process of a row in its environment, which is built if it is not there."""
    python = files.build_environment(row.environment)
    if row.kind == "exported":
        folder = Path(row.settings["folder"])
        files.write_folder(model, folder, max_length=MODELS[model].get("max_length"))
    if row.environment == "own":
        command = [str(python), "-m", "tests.benchmarks.own_worker"]
    else:
        command = [str(python), str(HERE / "reference_worker.py")]
    log = files.FOLDER / "logs" / f"{model}-{row.title.replace(', ', '-').replace(' ', '-')}.log"
    return Worker([*command, row.kind, json.dumps(row.settings)], log=log)


def check_ids(worker: Worker, inputs: Path, ids: Sequence[Sequence[int]]) -> None:
    """Raise RuntimeError if a worker that tokenizes texts makes other ids of them than we do."""
    theirs = worker.ask("ids", inputs=str(inputs))["ids"]
    if theirs is not None and theirs != ids:
        other = sum(one != two for one, two in zip(theirs, ids, strict=True))
        raise RuntimeError(f"it encodes other token ids for {other} of {len(ids)} texts")


def time_workers(
    workers: dict[str, Worker], inputs: Path, rounds: int, clock: str
) -> dict[str, list[float]]:
    """Return the seconds of every worker in every round; the order alternates by round."""
    seconds: dict[str, list[float]] = {title: [] for title in workers}
    for at in range(rounds):
        for title in list(workers) if at % 2 == 0 else reversed(workers):
            seconds[title].append(workers[title].ask("encode", inputs=str(inputs))[clock])
    return seconds


def format_row(
    seconds: dict[str, list[float]], title: str, vectors: dict[str, np.ndarray], tokens: int
) -> list[str]:
    """Return a row's figures: tokens per second, both ratios, cosine to ours in float32."""
    cosines = compute_cosines(vectors[OURS], vectors[title])
    near = f"{cosines.mean():.5f}, {cosines.min():.5f}"
    if not cosines.mean() >= NEAR:  # also where they are not numbers
        return ["", "its vectors differ", "its vectors differ", near]
    speed = f"{tokens / statistics.median(seconds[title]):,.0f}"
    ratios = [
        "1" if ours == title else format_ratio(seconds[title], seconds[ours])
        for ours in (DEFAULT, OURS)
    ]
    return [speed, *ratios, near]


def measure_model(model: str, args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the table's lines for a model, and what each reference says of itself."""
    rows = list_references(model, args)
    place, workers = files.FOLDER / "inputs", {}
    texts = {"sentences": make_sentences(args.texts), "passages": make_passages(args.texts // 8)}
    texts = {kind: texts[kind] for kind in args.kinds} | {"trial": make_sentences(32)}
    inputs = {kind: place / f"{model}-{kind}.json" for kind in texts}
    for kind, file in inputs.items():
        files.write_json(file, {"texts": texts[kind]})
    ids: dict[str, Any] = {}
    vectors: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in args.kinds}
    for row in rows:
        if row.skipped:
            continue
        print(f"{model}: {row.title}", file=sys.stderr, flush=True)
        worker = None
        try:
            worker = start_worker(row, model)
            row.about = worker.about
            for kind, file in inputs.items() if row.title == OURS else ():
                ids[kind] = worker.ask("ids", inputs=str(file))["ids"]
                files.write_json(file, {"texts": texts[kind], "ids": ids[kind]})
            for kind in args.kinds:
                check_ids(worker, inputs[kind], ids[kind])
                out = place / f"{model}-vectors.npy"
                worker.ask("vectors", inputs=str(inputs[kind]), out=str(out))
                vectors[kind][row.title] = np.load(out)
            workers[row.title] = worker
        except RuntimeError as error:
            if row.title in (OURS, DEFAULT):  # what everything is compared with
                raise
            row.skipped = " ".join(str(error).split())[:200]
            if worker:
                worker.close()
    lines = []
    for kind in args.kinds:
        clock = "cpu" if args.device == "cpu" else "wall"
        seconds = time_workers(workers, inputs[kind], args.rounds, clock)
        for row in rows:
            given = [row.skipped, "", "", ""]
            if not row.skipped:
                tokens = sum(map(len, ids[kind]))
                given = format_row(seconds, row.title, vectors[kind], tokens)
            lines.append("| " + " | ".join([model, kind, row.title, *given]) + " |")
            print(lines[-1], flush=True)
    for worker in workers.values():
        worker.close()
    return lines, [f"{model}, {row.title}: {row.about}" for row in rows if row.about]


def main() -> None:
    """Measure every reference of every model, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    kinds = ("sentences", "passages")
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=list(kinds))
    others = [name for name, required in files.ENVIRONMENTS.items() if required]
    parser.add_argument("--environments", nargs="*", choices=[[], *others], default=others)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--texts", type=int, default=500, help="sentences; an eighth as passages")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=64, help="texts that calibrate int8")
    parser.add_argument("--out", type=Path, help="also write the table there")
    args = parser.parse_args()
    unseen = make_sentences(args.texts + args.samples)[args.texts :]
    files.write_texts(unseen, files.FOLDER / "calibration")
    lines = [
        "| model | texts | what | tokens a second | default is faster | float32 is faster "
        "| cosine to ours in float32: mean, min |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    abouts = []
    for model in args.models:
        found, about = measure_model(model, args)
        lines, abouts = lines + found, abouts + about
    clock = "CPU seconds of one thread" if args.device == "cpu" else "seconds by the clock"
    note = (
        f"Seconds are {clock}. Ratios are a row's seconds over those of dec2vec in its default "
        f"dtype, or in float32: median (range) of {args.rounds} rounds. llama.cpp is given token "
        f"ids, everything else texts; the ids are the same. "
        f"`python -m tests.benchmarks.references {' '.join(sys.argv[1:])}`, "
        f"{time.strftime('%Y-%m-%d')}, commit {find_commit()['commit']}; {find_processor()}."
    )
    write_table([*lines, "", *(f"- {about}" for about in abouts)], note, args.out)


if __name__ == "__main__":
    main()
