"""What the engine gains, measured: `make bench` (or python tests/benchmarks/bench.py --help).

Variants are loaded and warmed in one process; rounds alternate their order; a ratio is taken within
a round, and its median and range over rounds are printed. Time is the process's CPU time on one
thread, which a busy machine spoils less than a clock. Texts are the standard library's docstrings.
Baselines get the same token ids (their chat template is removed) and the same kept memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import torch
from baselines import Baselines
from measure import cosines, cpu_seconds, passages, peak_mib, race, ratio, sentences
from training import trained_rows

from methods import load_encoder
from methods.backbone import forward as engine
from methods.backbone.linears import PrepackedLinear
from methods.encoding.embedder import Embedder
from methods.encoding.store import MemoryStore, open_cache
from methods.provenance import describe_environment

METHODS = "cpt_text sgpt prompteol echo repllama udever e5_instruct llm2vec".split()
POOLINGS = ("last", "mean", "weighted_mean")
INSTRUCTION = "Given a question, retrieve passages that answer it"
Rows = list[tuple[str, str, str]]


def both_kinds(args: argparse.Namespace) -> list[tuple[str, list[str]]]:
    return [("sentences", sentences(args.texts)), ("passages", passages(args.texts // 8))]


def floor(encoder: Any, rows: int = 2048) -> Callable[[], None]:
    """The model's own linear layers, all of them in order, and nothing else."""
    kinds = (PrepackedLinear, torch.nn.Linear)
    layers = [m for m in encoder.backbone.model.modules() if isinstance(m, kinds)]
    dtype = getattr(torch, encoder.backbone.identity["dtype"])
    device = encoder.backbone.choices["device"]
    sizes = {layer.in_features for layer in layers}
    states = {n: torch.randn(1, rows, n, dtype=dtype, device=device) for n in sizes}

    @torch.inference_mode()
    def run() -> None:
        for layer in layers:
            layer(states[layer.in_features])

    return run


def encode_rows(args: argparse.Namespace) -> Rows:
    """Texts to vectors, tokenisation included, nothing shared and nothing kept."""
    encoders = {
        dtype: load_encoder("sgpt", model=args.model, dtype=dtype, pooling="mean", **args.on)
        for dtype in args.dtypes
    }
    base = encoders[args.dtypes[0]]
    others = {dtype: Baselines(encoder) for dtype, encoder in encoders.items()}
    rows: Rows = []
    for kind, texts in (
        ("sentences", sentences(args.texts)),
        ("passages", passages(args.texts // 8)),
    ):
        inputs = base.method.prepare_inputs(texts, tokenizer=base.backbone.tokenizer)
        tokens = sum(map(len, inputs.ids))
        told = others[args.dtypes[0]].tokenizer(texts)["input_ids"]
        assert told == inputs.ids, "the baseline reads other ids"
        vectors = {dtype: encoder.encode(texts) for dtype, encoder in encoders.items()}
        same = cosines(vectors["float32"], others["float32"].sentence_transformers(texts))
        assert same.min() >= 0.99999, same.min()
        rows.append((kind, "float32 against sentence-transformers", f"min cosine {same.min():.7f}"))
        variants: dict[str, Callable[[], Any]] = {}
        for dtype, encoder in encoders.items():
            variants[f"ours {dtype}"] = partial(encoder.encode, texts)
            variants[f"st {dtype}"] = partial(others[dtype].sentence_transformers, texts)
            variants[f"floor {dtype}"] = floor(encoder)
        took = race(variants, args.rounds)
        best = args.dtypes[-1]
        speed = tokens / statistics.median(took[f"ours {best}"])
        rows.append((kind, f"ours, {best}: tokens per CPU second", f"{speed:,.0f}"))
        rows.append(
            (kind, "ours, default, against sentence-transformers float32",
             ratio(took["st float32"], took[f"ours {best}"]))
        )  # fmt: skip
        for dtype in args.dtypes:
            against = ratio(took[f"st {dtype}"], took[f"ours {dtype}"])
            rows.append((kind, f"ours against sentence-transformers, both {dtype}", against))
            share = [
                f / 2048 * tokens / o
                for f, o in zip(took[f"floor {dtype}"], took[f"ours {dtype}"], strict=True)
            ]
            said = f"{statistics.median(share):.2f} ({min(share):.2f}-{max(share):.2f})"
            rows.append((kind, f"share of the matrix products' floor, {dtype}", said))
        if len(args.dtypes) > 1:
            near = cosines(vectors["float32"], vectors[best])
            said = f"mean {near.mean():.6f}, min {near.min():.6f}"
            rows.append((kind, f"{best} against float32, cosine", said))
    few = sentences(args.texts // 5)
    names = ("sentence_transformers", "official_loop", "mteb_wrapper")
    took = race({n: partial(getattr(others["float32"], n), few) for n in names}, args.rounds)
    for name in names[1:]:
        against = ratio(took[names[0]], took[name])
        rows.append((f"{len(few)} sentences", f"{name} against {names[0]}, float32", against))
    return rows


def sweep_rows(args: argparse.Namespace) -> Rows:
    """Every method, both attentions, cells that share a pass; against a run of its own per cell."""
    number = max(args.texts // 24, 8)
    texts = sentences(number)
    texts += texts[: number // 2]  # benchmarks repeat themselves: STS12-16 and SICK-R 1.7 times
    base = load_encoder("sgpt", model=args.model, dtype=args.dtypes[-1], **args.on)
    others = {"float32": load_encoder("sgpt", model=args.model, dtype="float32", **args.on)}
    others = {d: Baselines(others.get(d, base)) for d in args.dtypes}
    base = load_encoder("sgpt", model=args.model, dtype=args.dtypes[-1], **args.on)
    tokenizer = base.backbone.tokenizer
    passes = []
    for name in METHODS:
        method = load_encoder(name, model=args.model, dtype=args.dtypes[-1], **args.on).method
        inputs = method.prepare_inputs(
            texts, tokenizer=tokenizer, prompt_type="query", instruction=INSTRUCTION
        )
        for attention in ("causal", "bidirectional"):
            passes.append((replace(method, attention=attention), inputs))
    strings = [tokenizer.batch_decode(inputs.ids) for _, inputs in passes]

    def sweep(axes: Sequence[tuple[Any, int]]) -> None:
        store = MemoryStore(4 << 30)
        for method, inputs in passes:
            group = [replace(method, pooling=pooling, layer=layer) for pooling, layer in axes]
            shared = Embedder(base.backbone, group, store)
            for at in range(len(group)):
                shared.vectors(inputs, at)

    def one_by_one(dtype: str, copies: int = 1) -> None:
        for each in strings:
            for _ in range(copies):
                others[dtype].sentence_transformers(each)

    every = [*range(base.backbone.num_layers), -1]
    sweeps = {
        "sweep": list(product(("last", "mean"), (len(every) // 2, -1))),
        "sweep, all layers": list(product(POOLINGS, every)),
    }
    variants: dict[str, Callable[[], Any]] = {
        title: partial(sweep, axes) for title, axes in sweeps.items()
    }
    took = race(variants | {dtype: partial(one_by_one, dtype) for dtype in others}, args.rounds)
    rows: Rows = []
    for title, axes in sweeps.items():
        for dtype in others:
            slow = [seconds * len(axes) for seconds in took[dtype]]
            said = f"{len(axes) * len(passes)} cells, {args.dtypes[-1]}, against as many "
            said += f"sentence-transformers runs, {dtype}"
            rows.append((title, said, ratio(slow, took[title])))
    best, copies = args.dtypes[-1], len(POOLINGS)
    said = f"{cpu_seconds(partial(one_by_one, best, copies)) / statistics.median(took[best]):.2f}"
    rows.append(("sweep", f"{copies} such runs a pass, over one (should be {copies})", said))
    return rows


def prefix_rows(args: argparse.Namespace) -> Rows:
    """A beginning that all rows share."""
    encoder = load_encoder("sgpt", model=args.model, dtype=args.dtypes[-1], **args.on)
    others = Baselines(encoder)
    tokenizer = encoder.backbone.tokenizer
    words = tokenizer(" ".join(passages(8)))["input_ids"]
    rows: Rows = []
    for length in (10, 40, 300):
        before = tokenizer.decode(words[:length]) + " :"
        texts = [f"{before} {text}" for text in sentences(max(args.texts // 8, 8))]
        inputs = encoder.method.prepare_inputs(texts, tokenizer=tokenizer)

        def run(shortest: int, inputs: Any = inputs) -> np.ndarray:
            kept, engine.SHORTEST_PREFIX = engine.SHORTEST_PREFIX, shortest
            try:
                shared = Embedder(encoder.backbone, [replace(encoder.method, pooling="last")])
                return shared.vectors(inputs, 0)
            finally:
                engine.SHORTEST_PREFIX = kept

        near = cosines(run(1), run(10**9)).min()
        took = race(
            {
                "with": lambda: run(1),
                "without": lambda: run(10**9),
                "st": lambda t=texts: others.sentence_transformers(t),
            },
            args.rounds,
        )
        kind = f"prefix of {length}"
        rows.append(
            (kind, "read once against read every time", ratio(took["without"], took["with"]))
        )
        rows.append(
            (kind, "against sentence-transformers, same dtype", ratio(took["st"], took["with"]))
        )
        rows.append((kind, f"min cosine to read every time, {args.dtypes[-1]}", f"{near:.5f}"))
    return rows


def cache_rows(args: argparse.Namespace) -> Rows:
    """The same texts again, tokenisation included."""
    encoder = load_encoder("sgpt", model=args.model, dtype=args.dtypes[-1], **args.on)
    others = Baselines(load_encoder("sgpt", model=args.model, dtype="float32", **args.on))
    rows: Rows = []
    for kind, texts in (
        ("sentences", sentences(args.texts)),
        ("passages", passages(args.texts // 8)),
    ):
        with tempfile.TemporaryDirectory() as folder:
            shared = Embedder(encoder.backbone, [encoder.method], open_cache(Path(folder), 1 << 30))

            def run(texts: Any = texts, shared: Any = shared) -> np.ndarray:
                return shared.vectors(
                    encoder.method.prepare_inputs(texts, tokenizer=encoder.backbone.tokenizer), 0
                )

            first = cpu_seconds(run)
            computed = shared.usage.tokens_computed
            took = race({"again": lambda: [run() for _ in range(20)]}, args.rounds)
            slow = cpu_seconds(partial(others.sentence_transformers, texts))
            assert shared.usage.tokens_computed == computed, "the second run read something"
            again = [seconds / 20 for seconds in took["again"]]
        rows.append((f"rerun, {kind}", "against our first run", ratio([first] * len(again), again)))
        rows.append(
            (f"rerun, {kind}", "against sentence-transformers float32",
             ratio([slow] * len(again), again))
        )  # fmt: skip
    return rows


def growth_rows(args: argparse.Namespace) -> Rows:
    """Time and memory of 500 and of 5,000 texts, each in a process of its own."""
    rows: Rows = []
    for number in (args.texts, 10 * args.texts):
        command = [sys.executable, __file__, "--grow", str(number), "--model", args.model]
        said = json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )
        rows.append(
            (f"{number:,} sentences", "tokens per CPU second; peak memory of the process",
             f"{said['speed']:,.0f}; {said['mib']:,.0f} MiB ({said['loaded']:,.0f} with the model "
             f"loaded)")
        )  # fmt: skip
    return rows


def grow(number: int, args: argparse.Namespace) -> None:
    encoder = load_encoder("sgpt", model=args.model, **args.on)
    encoder.encode(["a text"])
    loaded = peak_mib()
    texts = sentences(number)
    seconds = cpu_seconds(lambda: encoder.encode(texts))
    speed = encoder.shared.usage.tokens_computed / seconds
    print(json.dumps({"speed": speed, "mib": peak_mib(), "loaded": loaded}))


PARTS = {
    "encode": encode_rows,
    "sweep": sweep_rows,
    "prefix": prefix_rows,
    "cache": cache_rows,
    "growth": growth_rows,
    "training": trained_rows,
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
        grow(args.grow, args)
        return
    default = load_encoder("sgpt", model=args.model, **args.on).backbone.identity["dtype"]
    args.dtypes = list(dict.fromkeys(["float32", default]))
    lines = ["| texts | figure | measured |", "|---|---|---|"]
    for name in args.parts or PARTS:
        for row in PARTS[name](args):
            lines.append("| " + " | ".join(row) + " |")
            print(lines[-1], flush=True)
    about = describe_environment()
    cpu = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")),
        platform.processor(),
    )
    lines += [
        "",
        f"`python tests/benchmarks/bench.py {' '.join(sys.argv[1:])}`, "
        f"{time.strftime('%Y-%m-%d')}, commit {about['commit']}, {args.model}, {args.device}, "
        f"{args.threads} thread, {args.rounds} rounds; {cpu}, "
        f"torch {about['versions']['torch']}, transformers {about['versions']['transformers']}.",
    ]
    print("\n".join(lines))
    if args.out:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    main()
