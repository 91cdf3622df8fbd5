"""Measure what another program's load costs us, by how OpenMP's threads wait for work.

`python tests/benchmarks/busy.py --out tests/benchmarks/BUSY.md`, on a machine that is otherwise
idle. Each figure is of a process of its own, which is started with the variant's environment.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from measure import make_sentences, write_table

from methods import load_encoder
from methods.provenance import find_commit, find_processor

VARIANTS = {
    "threads as torch sets them": {},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
WORKS = ("encode", "train")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")


def main() -> None:
    """Measure every variant, idle and beside busy loops, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2_135m")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--texts", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loops", type=int, default=3, help="busy loops beside us")
    parser.add_argument("--out", type=Path, help="also write the table there")
    parser.add_argument("--only", choices=WORKS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure_rounds(args)))
        return
    lines = ["| work | beside | threads | seconds | CPU seconds |", "|---|---|---|---:|---:|"]
    for work in WORKS:
        for loops in (0, args.loops):
            for name, variables in VARIANTS.items():
                with run_busy_loops(loops):
                    found = measure_apart(work, variables)
                beside = f"{loops} busy loops" if loops else "nothing"
                wall, cpu = (format_spread([run[key] for run in found]) for key in ("wall", "cpu"))
                lines.append(f"| {work} | {beside} | {name} | {wall} | {cpu} |")
                print(lines[-1], flush=True)
    note = (
        f"Median (range) of {args.rounds} rounds. encode: {args.texts} sentences; train: a step of "
        f"32 pairs. `python tests/benchmarks/busy.py {' '.join(sys.argv[1:])}`, "
        f"{time.strftime('%Y-%m-%d')}, commit {find_commit()['commit']}, {args.model}, "
        f"{os.cpu_count()} cores of {find_processor()}, torch {torch.__version__}."
    )
    write_table(lines, note, args.out)


def measure_apart(work: str, variables: dict[str, str]) -> list[dict[str, float]]:
    """Measure in a process of its own, since OpenMP reads its variables once."""
    kept = {key: value for key, value in os.environ.items() if key not in WAITING}
    command = [sys.executable, __file__, *sys.argv[1:], "--only", work]
    found = subprocess.run(
        command, env={**kept, **variables}, check=True, capture_output=True, text=True
    )
    return json.loads(found.stdout.strip().splitlines()[-1])


@contextmanager
def run_busy_loops(loops: int) -> Iterator[None]:
    """Keep processes busy meanwhile."""
    beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in beside:
            process.kill()
            process.wait()


def measure_rounds(args: argparse.Namespace) -> list[dict[str, float]]:
    """Return wall and CPU seconds of every round, after one that is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        act = make_training(args, Path(folder)) if args.only == "train" else make_encoding(args)
        act()
        found = []
        for _ in range(args.rounds):
            wall, cpu = time.perf_counter(), time.process_time()
            act()
            found.append({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu})
    return found


def make_encoding(args: argparse.Namespace) -> Callable[[], Any]:
    encoder = load_encoder("sgpt", model=args.model, dtype=args.dtype, cache=None)
    texts = make_sentences(args.texts)
    return lambda: encoder.encode(texts)


def make_training(args: argparse.Namespace, folder: Path) -> Callable[[], Any]:
    from training import Training

    texts, file = make_sentences(96), folder / "pairs.jsonl"
    columns = ("query", "positive", "negative")
    triplets = [dict(zip(columns, texts[i::32], strict=True)) for i in range(32)]
    file.write_text("\n".join(map(json.dumps, triplets)))
    args.device = "cpu"
    return Training(args, file, args.dtype, 32, packed=True)


def format_spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    main()
