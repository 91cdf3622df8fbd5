"""Texts that are installed anywhere, and how time, memory and likeness are measured."""

from __future__ import annotations

import ast
import resource
import statistics
import sysconfig
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np


@cache
def read_docstrings() -> list[str]:
    """Return every docstring of the standard library's top level, once, in one line."""
    found = set()
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                found.add(" ".join((ast.get_docstring(node) or "").split()))
    return sorted(found - {""})


def make_sentences(number: int) -> list[str]:
    """Return first sentences of 30 to 90 characters; past their end, with a number in front."""
    firsts = sorted({text.split(". ")[0] for text in read_docstrings()})
    firsts = [text for text in firsts if 30 < len(text) < 90]
    rounds = range(-(-number // len(firsts)))
    return [f"{at} {text}" if at else text for at in rounds for text in firsts][:number]


def make_passages(number: int) -> list[str]:
    """Return stretches of 60 to 130 words."""
    words = " ".join(read_docstrings()).split()
    found, start = [], 0
    for at in range(number):
        length = 60 + 37 * at % 71
        found.append(" ".join(words[start : start + length]))
        start += length
    return found


def measure_cpu_seconds(act: Callable[[], Any]) -> float:
    start = time.process_time()
    act()
    return time.process_time() - start


def time_rounds(variants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return CPU seconds of every variant in every round; the order alternates by round."""
    for act in variants.values():
        act()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for at in range(rounds):
        for name in list(variants) if at % 2 == 0 else reversed(variants):
            seconds[name].append(measure_cpu_seconds(variants[name]))
    return seconds


def format_ratio(slow: Sequence[float], fast: Sequence[float]) -> str:
    """Return the median and range of per-round ratios, as text."""
    ratios = [s / f for s, f in zip(slow, fast, strict=True)]
    digits = 0 if statistics.median(ratios) >= 100 else 2 if statistics.median(ratios) < 20 else 1
    return (
        f"{statistics.median(ratios):,.{digits}f}x "
        f"({min(ratios):,.{digits}f}-{max(ratios):,.{digits}f})"
    )


def write_table(lines: Sequence[str], note: str, out: Path | None) -> None:
    """Print a table and the line that says how it was made; write both to `out` too."""
    text = "\n".join([*lines, "", note])
    print(text)
    if out:
        out.write_text(text + "\n", encoding="utf-8")


def compute_cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / norms


def measure_peak_mib() -> float:
    """Return the peak memory of this process alone; ru_maxrss would start with its parent's."""
    try:
        shown = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(shown) / 1024
