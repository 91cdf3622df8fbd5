"""Measure encoding: whole texts, sweeps of cells, shared prefixes, the cache; beside baselines."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baselines import Baselines
from measure import (
    compute_cosines,
    format_ratio,
    make_passages,
    make_sentences,
    measure_cpu_seconds,
    time_rounds,
)

from methods import load_encoder
from methods.backbone import forward as engine
from methods.backbone.linears import PrepackedLinear
from methods.encoding.embedder import Embedder
from methods.encoding.store import MemoryStore, open_cache

METHODS = "cpt_text sgpt prompteol echo repllama udever e5_instruct llm2vec".split()
POOLINGS = ("last", "mean", "weighted_mean")
INSTRUCTION = "Given a question, retrieve passages that answer it"
Rows = list[tuple[str, str, str]]


def make_texts(args: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """Return both kinds of texts, by name."""
    return [("sentences", make_sentences(args.texts)), ("passages", make_passages(args.texts // 8))]


def make_floor(encoder: Any, rows: int = 2048) -> Callable[[], None]:
    """Return a call of the model's own linear layers, all of them in order, and nothing else."""
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


def measure_encoding(args: argparse.Namespace) -> Rows:
    """Measure texts to vectors, tokenisation included, nothing shared and nothing cached."""
    encoders = {
        dtype: load_encoder("sgpt", model=args.model, dtype=dtype, pooling="mean", **args.on)
        for dtype in args.dtypes
    }
    base = encoders[args.dtypes[0]]
    others = {dtype: Baselines(encoder) for dtype, encoder in encoders.items()}
    rows: Rows = []
    for kind, texts in make_texts(args):
        inputs = base.method.prepare_inputs(texts, tokenizer=base.backbone.tokenizer)
        tokens = sum(map(len, inputs.ids))
        theirs = others[args.dtypes[0]].tokenizer(texts)["input_ids"]
        assert theirs == inputs.ids, "the baseline encodes other ids"
        vectors = {dtype: encoder.encode(texts) for dtype, encoder in encoders.items()}
        same = compute_cosines(vectors["float32"], others["float32"].sentence_transformers(texts))
        assert same.min() >= 0.99999, same.min()
        rows.append((kind, "float32 against sentence-transformers", f"min cosine {same.min():.7f}"))
        variants: dict[str, Callable[[], Any]] = {}
        for dtype, encoder in encoders.items():
            variants[f"ours {dtype}"] = partial(encoder.encode, texts)
            variants[f"st {dtype}"] = partial(others[dtype].sentence_transformers, texts)
            variants[f"floor {dtype}"] = make_floor(encoder)
        took = time_rounds(variants, args.rounds)
        best = args.dtypes[-1]
        speed = tokens / statistics.median(took[f"ours {best}"])
        rows.append((kind, f"ours, {best}: tokens per CPU second", f"{speed:,.0f}"))
        rows.append(
            (kind, "ours, default, against sentence-transformers float32",
             format_ratio(took["st float32"], took[f"ours {best}"]))
        )  # fmt: skip
        for dtype in args.dtypes:
            against = format_ratio(took[f"st {dtype}"], took[f"ours {dtype}"])
            rows.append((kind, f"ours against sentence-transformers, both {dtype}", against))
            share = [
                f / 2048 * tokens / o
                for f, o in zip(took[f"floor {dtype}"], took[f"ours {dtype}"], strict=True)
            ]
            shown = f"{statistics.median(share):.2f} ({min(share):.2f}-{max(share):.2f})"
            rows.append((kind, f"share of the matrix products' floor, {dtype}", shown))
        if len(args.dtypes) > 1:
            near = compute_cosines(vectors["float32"], vectors[best])
            shown = f"mean {near.mean():.6f}, min {near.min():.6f}"
            rows.append((kind, f"{best} against float32, cosine", shown))
    few = make_sentences(args.texts // 5)
    names = ("sentence_transformers", "official_loop", "mteb_wrapper")
    took = time_rounds({n: partial(getattr(others["float32"], n), few) for n in names}, args.rounds)
    for name in names[1:]:
        against = format_ratio(took[names[0]], took[name])
        rows.append((f"{len(few)} sentences", f"{name} against {names[0]}, float32", against))
    return rows


def measure_sweep(args: argparse.Namespace) -> Rows:
    """Measure every method under both attentions, cells sharing a pass, against a run per cell."""
    number = max(args.texts // 24, 8)
    texts = make_sentences(number)
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
    took = time_rounds(
        variants | {dtype: partial(one_by_one, dtype) for dtype in others}, args.rounds
    )
    rows: Rows = []
    for title, axes in sweeps.items():
        for dtype in others:
            slow = [seconds * len(axes) for seconds in took[dtype]]
            shown = f"{len(axes) * len(passes)} cells, {args.dtypes[-1]}, against as many "
            shown += f"sentence-transformers runs, {dtype}"
            rows.append((title, shown, format_ratio(slow, took[title])))
    best, copies = args.dtypes[-1], len(POOLINGS)
    several = measure_cpu_seconds(partial(one_by_one, best, copies))
    shown = f"{several / statistics.median(took[best]):.2f}"
    rows.append(("sweep", f"{copies} such runs a pass, over one (should be {copies})", shown))
    return rows


def measure_prefix(args: argparse.Namespace) -> Rows:
    """Measure a prefix that all rows share."""
    encoder = load_encoder("sgpt", model=args.model, dtype=args.dtypes[-1], **args.on)
    others = Baselines(encoder)
    tokenizer = encoder.backbone.tokenizer
    words = tokenizer(" ".join(make_passages(8)))["input_ids"]
    rows: Rows = []
    for length in (10, 40, 300):
        before = tokenizer.decode(words[:length]) + " :"
        texts = [f"{before} {text}" for text in make_sentences(max(args.texts // 8, 8))]
        inputs = encoder.method.prepare_inputs(texts, tokenizer=tokenizer)

        def run(shortest: int, inputs: Any = inputs) -> np.ndarray:
            kept, engine.SHORTEST_PREFIX = engine.SHORTEST_PREFIX, shortest
            try:
                shared = Embedder(encoder.backbone, [replace(encoder.method, pooling="last")])
                return shared.vectors(inputs, 0)
            finally:
                engine.SHORTEST_PREFIX = kept

        near = compute_cosines(run(1), run(10**9)).min()
        took = time_rounds(
            {
                "with": lambda: run(1),
                "without": lambda: run(10**9),
                "st": lambda t=texts: others.sentence_transformers(t),
            },
            args.rounds,
        )
        kind = f"prefix of {length}"
        rows.append(
            (kind, "read once against read every time", format_ratio(took["without"], took["with"]))
        )
        rows.append(
            (
                kind,
                "against sentence-transformers, same dtype",
                format_ratio(took["st"], took["with"]),
            )
        )
        rows.append((kind, f"min cosine to read every time, {args.dtypes[-1]}", f"{near:.5f}"))
    return rows


def measure_cache(args: argparse.Namespace) -> Rows:
    """Measure the same texts a second time, tokenisation included."""
    encoder = load_encoder("sgpt", model=args.model, dtype=args.dtypes[-1], **args.on)
    others = Baselines(load_encoder("sgpt", model=args.model, dtype="float32", **args.on))
    rows: Rows = []
    for kind, texts in make_texts(args):
        with tempfile.TemporaryDirectory() as folder:
            shared = Embedder(encoder.backbone, [encoder.method], open_cache(Path(folder), 1 << 30))

            def run(texts: Any = texts, shared: Any = shared) -> np.ndarray:
                return shared.vectors(
                    encoder.method.prepare_inputs(texts, tokenizer=encoder.backbone.tokenizer), 0
                )

            first = measure_cpu_seconds(run)
            computed = shared.usage.tokens_computed
            took = time_rounds({"again": lambda: [run() for _ in range(20)]}, args.rounds)
            slow = measure_cpu_seconds(partial(others.sentence_transformers, texts))
            assert shared.usage.tokens_computed == computed, "the second run encoded something"
            again = [seconds / 20 for seconds in took["again"]]
        rows.append(
            (f"rerun, {kind}", "against our first run", format_ratio([first] * len(again), again))
        )
        rows.append(
            (f"rerun, {kind}", "against sentence-transformers float32",
             format_ratio([slow] * len(again), again))
        )  # fmt: skip
    return rows
