"""Compare two records of one evaluation or one training: what differs, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from methods.identity import digest_adapter_tensors

# Points (scores x 100) that two runs of one cell may differ by. The last digits of float32 depend
# on processor, threads and batches. In half precision an untrained EOS moved most: 1.14 points from
# one processor and engine to another (e5_instruct on STSBenchmark, of 72 cells compared).
TOLERANCE = {"float32": 0.05, "half": 1.5}


@dataclass(frozen=True)
class Comparison:
    """Two runs of one record. lines: what differs, in words; agrees: whether the scores do."""

    lines: list[str]
    agrees: bool


def compare_evaluations(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    then: Mapping[tuple[str, str, str], float],
    now: Mapping[tuple[str, str, str], float],
) -> Comparison:
    """Compare two evaluations by environment, weights, data and scores.

    then, now: (task, split, subset) -> score x 100.
    """
    lines = _compare_environments(old, new)
    lines.append(_format_line("weights", old["revision"], new["revision"]))
    lines.append(_format_line("dtype", old["dtype"], new["dtype"]))
    lines += _compare_adapters(old, new)
    for task, entry in new["tasks"].items():
        before = old["tasks"].get(task, {})
        for what in ("data", "code"):
            lines.append(_format_line(f"{what} of {task}", before.get(what), entry.get(what)))
    limit = TOLERANCE["float32" if _are_float32(old["dtype"], new["dtype"]) else "half"]
    lines += ["", f"{'task':28} {'split':12} {'subset':10} {'then':>8} {'now':>8} {'apart':>8}"]
    apart = {
        place: _measure_difference(score, now[place])
        for place, score in then.items()
        if place in now
    }
    for (task, split, subset), score in then.items():
        again = now.get((task, split, subset))
        shown = "missing" if again is None else f"{again:8.3f} {again - score:+8.3f}"
        lines.append(f"{task:28} {split:12} {subset:10} {score:8.3f} {shown}")
    agrees = len(apart) == len(then) and max(apart.values(), default=0) <= limit
    worst = max(apart.values(), default=float("nan"))
    lines.append(
        f"largest difference {worst:.4f} points; {'within' if agrees else 'MORE THAN'} the "
        f"tolerance of {limit} for {old['dtype']} against {new['dtype']}"
    )
    return Comparison(lines, agrees)


def compare_trainings(
    old: Mapping[str, Any], new: Mapping[str, Any], *, folder: Path
) -> Comparison:
    """Compare two trainings by environment, data, steps and last loss. folder: the new adapter."""
    lines = _compare_environments(old, new)
    for source, about in old["data"]["sources"].items():
        now = new["data"]["sources"].get(source, {}).get("sha256")
        lines.append(_format_line(f"data {source}", about["sha256"], now))
    lines.append(_format_line("base weights", old["base"]["weights"], new["base"]["weights"]))
    lines.append(_format_line("steps", old["steps"], new["steps"]))
    limit = 1e-4 if _are_float32(old["base"]["dtype"], new["base"]["dtype"]) else 2e-2
    apart = abs(old["loss"] - new["loss"]) / max(abs(old["loss"]), 1e-12)
    agrees = apart <= limit and old["steps"] == new["steps"]
    lines.append(
        f"last loss: {old['loss']:.6g} then, {new['loss']:.6g} now, {100 * apart:.3g} % apart; "
        f"{'within' if agrees else 'MORE THAN'} the tolerance of {100 * limit:g} %"
    )
    lines.append(f"the new adapter: {folder}")
    return Comparison(lines, agrees)


def _measure_difference(then: float, now: float) -> float:
    """Return the points between two scores; 0 where both are NaN, as a correlation can be."""
    if math.isnan(then) or math.isnan(now):
        return 0.0 if math.isnan(then) and math.isnan(now) else math.inf
    return abs(now - then)


def _compare_environments(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    names = ("commit", "engine", "python", "machine", "processor")
    lines = [_format_line(name, _find_value(old, name), _find_value(new, name)) for name in names]
    for name in sorted({*old["versions"], *new["versions"]}):
        lines.append(_format_line(name, old["versions"].get(name), new["versions"].get(name)))
    return lines


def _find_value(record: Mapping[str, Any], name: str) -> Any:
    """Return a record's field, or the values that its tasks have of it."""
    values = [record[name]] if name in record else []
    values = values or [e[name] for e in record.get("tasks", {}).values() if e.get(name)]
    return ", ".join(dict.fromkeys(map(str, values))) or None


def _compare_adapters(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    then, now = old["backbone"]["adapters"], new["backbone"]["adapters"]
    if "schema" not in old:  # known by their tensors alone then
        now = [digest_adapter_tensors(folder) for folder in new["adapters"]] if then else now
    return [_format_line("adapters", then, now)] if then or now else []


def _format_line(what: str, then: Any, now: Any) -> str:
    if then is None:
        return f"{what}: not recorded then; {now} now"
    return f"{what}: same ({now})" if then == now else f"{what}: {then} then, {now} now"


def _are_float32(*dtypes: str) -> bool:
    return set(dtypes) == {"float32"}
