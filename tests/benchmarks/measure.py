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
def docstrings() -> list[str]:
    """Every docstring of the standard library's top level, once, in one line."""
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


def sentences(number: int) -> list[str]:
    """First sentences of 30 to 90 characters; past their end, with a number in front."""
    firsts = sorted({text.split(". ")[0] for text in docstrings()})
    firsts = [text for text in firsts if 30 < len(text) < 90]
    rounds = range(-(-number // len(firsts)))
    return [f"{at} {text}" if at else text for at in rounds for text in firsts][:number]


def passages(number: int) -> list[str]:
    """Stretches of 60 to 130 words."""
    words = " ".join(docstrings()).split()
    found, start = [], 0
    for at in range(number):
        length = 60 + 37 * at % 71
        found.append(" ".join(words[start : start + length]))
        start += length
    return found


def cpu_seconds(act: Callable[[], Any]) -> float:
    start = time.process_time()
    act()
    return time.process_time() - start


def race(variants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every variant in every round; the order turns round by round."""
    for act in variants.values():
        act()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for at in range(rounds):
        for name in list(variants) if at % 2 == 0 else reversed(variants):
            seconds[name].append(cpu_seconds(variants[name]))
    return seconds


def ratio(slow: Sequence[float], fast: Sequence[float]) -> str:
    """Median and range of per-round ratios."""
    ratios = [s / f for s, f in zip(slow, fast, strict=True)]
    digits = 0 if statistics.median(ratios) >= 100 else 2 if statistics.median(ratios) < 20 else 1
    return (
        f"{statistics.median(ratios):,.{digits}f}x "
        f"({min(ratios):,.{digits}f}-{max(ratios):,.{digits}f})"
    )


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / norms


def peak_mib() -> float:
    """Peak memory of this process alone; ru_maxrss would start with its parent's."""
    try:
        told = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(told) / 1024
