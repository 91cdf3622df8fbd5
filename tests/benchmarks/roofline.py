"""Estimate how fast a card can encode, from the operations of a pass and a card's data sheet.

`python -m tests.benchmarks.roofline --out tests/benchmarks/ROOFLINE.md` counts the operations of a
batch on torch's meta device (products, and bytes that every other operation reads and writes), and
measures how fast this machine's processor prepares inputs. Nothing is run on a card. The note
below the table states what is assumed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from methods import load_encoder
from methods.provenance import find_commit, find_processor
from methods.sgpt import SGPT
from tests.benchmarks import memory
from tests.benchmarks.measure import make_sentences, write_table
from tests.benchmarks.sizes import LLAMA_3_2_1B, MISTRAL_7B, QWEN_3_0_6B

MODELS = {
    "Mistral-7B": MISTRAL_7B,
    "Llama-3.2-1B": LLAMA_3_2_1B,
    "Qwen3-0.6B": QWEN_3_0_6B,
}
PEAK, GEMM = 989e12, 0.70  # an H100's FLOP a second in bfloat16, and the share that products reach
BANDWIDTH, STREAM = 3.35e12, 0.85  # its bytes a second, and the share that other operations reach
LENGTH = 128
VIEWS = ("view", "transpose", "expand", "slice", "unsqueeze", "select", "detach", "t", "permute")


class Operations(TorchDispatchMode):
    """Seconds that products take on the card, and those that the other operations take."""

    def __init__(self) -> None:
        super().__init__()
        self.flop = self.moved = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet is torch.ops.aten.linear:
            self.flop += 2 * args[0].numel() * len(args[1])
        elif packet in flop_registry:
            self.flop += flop_registry[packet](*args, **(kwargs or {}), out_val=found)
        elif packet.__name__.strip("_") not in VIEWS:
            tensors = [t for t in tree_leaves([args, kwargs, found]) if torch.is_tensor(t)]
            self.moved += sum(t.numel() * t.element_size() for t in tensors if t.is_meta)
        return found


def main() -> None:
    """Count the operations of each model and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2_135m", help="whose tokenizer is timed")
    parser.add_argument("--out", type=Path, help="also write the table there")
    args = parser.parse_args()
    hosts = {name: measure_preparing(name, args.model) for name in ("sgpt", "llm2vec")}
    lines = [
        "| model | GFLOP a token | products, ms | other operations, ms | card alone, tokens/s | "
        "share of peak | inputs prepared first: sgpt, llm2vec | while it runs: sgpt, llm2vec |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, config in MODELS.items():
        flop, moved = count_operations(config)
        products, other = flop / (PEAK * GEMM), moved / (BANDWIDTH * STREAM)
        card = memory.BUDGET / (products + other)
        series = [1 / (1 / card + 1 / host) for host in hosts.values()]
        beside = [min(card, host) for host in hosts.values()]
        lines.append(
            f"| {name} | {flop / memory.BUDGET / 1e9:.2f} | {products * 1e3:,.0f} | "
            f"{other * 1e3:,.0f} | {card:,.0f} | {flop / (products + other) / PEAK:.0%} | "
            f"{', '.join(f'{one:,.0f}' for one in series)} | "
            f"{', '.join(f'{one:,.0f}' for one in beside)} |"
        )
    prepared = ", ".join(f"{name} {speed:,.0f}" for name, speed in hosts.items())
    note = (
        f"An estimate: a batch of {memory.BUDGET:,} tokens in rows of {LENGTH}, causal, bfloat16, "
        f"on an H100 whose data sheet says {PEAK / 1e12:.0f} TFLOP/s and {BANDWIDTH / 1e12:.2f} "
        f"TB/s; products at {GEMM:.0%}, every other operation a pass over memory at {STREAM:.0%}, "
        f"nothing fused, attention as its products. Inputs prepared by one thread of "
        f"{find_processor()}, tokens/s: {prepared}. `python -m tests.benchmarks.roofline --out "
        f"tests/benchmarks/ROOFLINE.md`, {date.today()}, commit {find_commit()['commit']}, torch "
        f"{torch.__version__}."
    )
    write_table(lines, note, args.out)


def count_operations(config: Mapping[str, Any]) -> tuple[float, float]:
    """Return the FLOP of a batch, and the bytes that all but its products read and write."""
    backbone = memory.build_meta_backbone(config)
    rows = [LENGTH] * (memory.BUDGET // LENGTH)
    with Operations() as found, patch.object(memory, "Memory", _NoMemory):
        memory.measure_pass(backbone, rows, [SGPT(pooling="last")])
    return found.flop, found.moved


class _NoMemory:
    """Stands where memory is counted, which is not wanted here."""

    peak = 0

    def __enter__(self) -> _NoMemory:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def measure_preparing(method: str, model: str) -> float:
    """Return the tokens a second that a method prepares on this processor, the best of three."""
    encoder = load_encoder(method, model=model, cache=None)
    texts = make_sentences(2000)
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        inputs = encoder.method.prepare_inputs(texts, tokenizer=encoder.backbone.tokenizer)
        best = max(best, sum(map(len, inputs.ids)) / (time.perf_counter() - start))
    return best


if __name__ == "__main__":
    main()
