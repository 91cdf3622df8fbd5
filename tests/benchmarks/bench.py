"""What the engine gains, measured: `make bench` (or python tests/benchmarks/bench.py --help).

Variants are loaded and warmed in one process; rounds alternate their order; a ratio is taken within
a round, and its median and range over rounds are printed. Time is the process's CPU time on one
thread, which a busy machine spoils less than a clock. Texts are the standard library's docstrings.
Baselines get the same token ids (their chat template is removed) and the same retained memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch
from encoding import measure_cache, measure_encoding, measure_prefix, measure_sweep
from measure import make_sentences, measure_cpu_seconds, measure_peak_mib, write_table
from training import measure_training

from methods import load_encoder
from methods.provenance import describe_environment, find_processor

Rows = list[tuple[str, str, str]]


def measure_growth(args: argparse.Namespace) -> Rows:
    """Measure time and memory of 500 and of 5,000 texts, each in a process of its own."""
    rows: Rows = []
    for number in (args.texts, 10 * args.texts):
        command = [sys.executable, __file__, "--grow", str(number), "--model", args.model]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        rows.append(
            (f"{number:,} sentences", "tokens per CPU second; peak memory of the process",
             f"{found['speed']:,.0f}; {found['mib']:,.0f} MiB ({found['loaded']:,.0f} with the "
             f"model loaded)")
        )  # fmt: skip
    return rows


def print_growth(number: int, args: argparse.Namespace) -> None:
    encoder = load_encoder("sgpt", model=args.model, **args.on)
    encoder.encode(["a text"])
    loaded = measure_peak_mib()
    texts = make_sentences(number)
    seconds = measure_cpu_seconds(lambda: encoder.encode(texts))
    speed = encoder.shared.usage.tokens_computed / seconds
    print(json.dumps({"speed": speed, "mib": measure_peak_mib(), "loaded": loaded}))


PARTS = {
    "encode": measure_encoding,
    "sweep": measure_sweep,
    "prefix": measure_prefix,
    "cache": measure_cache,
    "growth": measure_growth,
    "training": measure_training,
}


def main() -> None:
    """Run the parts asked for and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="which [all]")
    parser.add_argument("--model", default="smollm2_135m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=500, help="sentences; an eighth as passages")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the table there")
    parser.add_argument("--grow", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.on = {"device": args.device, "cache": None}  # what is measured is computed
    if args.grow:
        print_growth(args.grow, args)
        return
    default = load_encoder("sgpt", model=args.model, **args.on).backbone.identity["dtype"]
    args.dtypes = list(dict.fromkeys(["float32", default]))
    lines = ["| texts | figure | measured |", "|---|---|---|"]
    for name in args.parts or PARTS:
        for row in PARTS[name](args):
            lines.append("| " + " | ".join(row) + " |")
            print(lines[-1], flush=True)
    about = describe_environment()
    note = (
        f"`python tests/benchmarks/bench.py {' '.join(sys.argv[1:])}`, "
        f"{time.strftime('%Y-%m-%d')}, commit {about['commit']}, {args.model}, {args.device}, "
        f"{args.threads} thread, {args.rounds} rounds; {find_processor()}, "
        f"torch {about['versions']['torch']}, transformers {about['versions']['transformers']}."
    )
    write_table(lines, note, args.out)


if __name__ == "__main__":
    main()
