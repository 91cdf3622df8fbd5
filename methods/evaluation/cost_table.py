"""Format an estimate: a row a task and the total, or one line for a job of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from methods.evaluation.amounts import format_bytes, format_duration, format_money, format_number
from methods.evaluation.costs import Estimate, TaskCost
from methods.evaluation.model_size import ModelSize

COMPUTED = "neither repeated nor cached; a prefix that all texts share once"
EVERY_TEXT = "not repeated; what is cached, or computed once for all, is unknown without the model"
HEAD = ["task", "texts", "tokens", "to compute", "passes", "time"]


def format_estimate(estimate: Estimate, price_per_hour: float | None) -> str:
    """Return the table, and below it what the figures rest on."""
    rows = [HEAD, *(_format_task(task) for task in estimate.tasks)]
    rows += [[name, f"missing: {reason}"] for name, reason in estimate.missing.items()]
    if len(estimate.tasks) > 1:
        sums = {name: estimate.sum(name) or 0 for name in ("texts", "tokens", "computed")}
        total = TaskCost(
            name="all tasks",
            texts=int(sums["texts"]),
            tokens=sums["tokens"],
            computed=sums["computed"],
            passes=None if (passes := estimate.sum("passes")) is None else int(passes),
            seconds=estimate.sum("seconds"),
            exact=all(task.exact for task in estimate.tasks),
        )
        rows.append(_format_task(total))
    lines = [f"{estimate.title} on {estimate.model}, an estimate; nothing is written"]
    lines += align(rows)
    notes = [*_explain(estimate), *_sum_up(estimate, price_per_hour)]
    return "\n".join([*lines, *(f"  {about:10} {note}" for about, note in notes)])


def format_line(estimate: Estimate, price_per_hour: float | None) -> str:
    """Return the estimate of one job of a sweep in a line."""
    exact = all(task.exact for task in estimate.tasks)
    computed = format_number(estimate.sum("computed"), exact=exact)
    parts = [f"{computed} tokens to compute", f"time {format_duration(estimate.seconds)}"]
    if price_per_hour is not None:
        parts.append(format_money(estimate.seconds, price_per_hour))
    done = sum(task.note == "scored already" for task in estimate.tasks)
    parts += [f"{done} of {len(estimate.tasks)} tasks are scored already"] if done else []
    parts += [f"{t.name} {t.note}" for t in estimate.tasks if t.note not in ("", "scored already")]
    parts += [f"{name} missing" for name in estimate.missing]
    parts += [f"not measured: {estimate.unknown}"] if estimate.unknown else []
    return f"estimate of {estimate.title}: {', '.join(parts)}"


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines: the first column to the left, numbers to the right; a row of two holds
    a name and a sentence."""
    full = [row for row in rows if len(row) == len(HEAD)]
    widths = [max(len(row[place]) for row in full) for place in range(len(HEAD))]
    widths[0] = max(len(row[0]) for row in rows)
    lines = []
    for name, *others in rows:
        cells = [f"{name:{widths[0]}}"]
        if len(others) == 1:
            cells += others
        else:
            cells += [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def _format_task(task: TaskCost) -> list[str]:
    if task.note:
        return [task.name, task.note]
    return [
        task.name,
        format_number(task.texts),
        format_number(task.tokens, exact=task.exact),
        format_number(task.computed, exact=task.exact),
        format_number(task.passes, exact=task.exact),
        format_duration(task.seconds),
    ]


def _explain(estimate: Estimate) -> Iterator[tuple[str, str]]:
    """Yield what tokens, speed and memory are."""
    if any(not task.exact for task in estimate.tasks):
        yield "tokens", "~ extrapolated from a uniform sample of texts; the others are counted"
    if any(not task.note for task in estimate.tasks):
        yield "to compute", EVERY_TEXT if estimate.unknown else COMPUTED
    if (speed := estimate.speed) is not None:
        threads = f", {estimate.choices['threads']} threads" if estimate.on_cpu else ""
        yield (
            "speed",
            f"{speed.tokens / speed.seconds:,.0f} tokens/s on {estimate.choices['device']}{threads}"
            f", measured on {speed.texts:,} texts ({speed.tokens:,} tokens)",
        )
        what = "of this process" if estimate.on_cpu else "of the device"
        yield "memory", f"{format_bytes(speed.memory)} {what} at its peak, measured"
    if estimate.unknown and estimate.size is not None:
        size = estimate.size
        operations = f"{2.0 * size.linear_weights * estimate.computed:.2g}: two"
        yield from explain_unmeasured(estimate.unknown, size, operations, beside="a batch")
    if estimate.vectors_bytes:
        yield "cache", f"{format_bytes(estimate.vectors_bytes)} of vectors"


def explain_unmeasured(
    why: str, size: ModelSize, operations: str, *, beside: str
) -> Iterator[tuple[str, str]]:
    """Yield what is known where nothing was measured. operations: how many, and how many for each
    token and weight. beside: what takes memory beside the weights."""
    yield "unknown", f"speed, time and peak memory: {why}"
    yield "memory", f"{format_bytes(size.bytes)} of weights in {size.dtype}, and {beside}"
    weights = f"{size.linear_weights:,} weights in linear layers"
    yield "operations", f"{operations} for each token and each of {weights}"


def _sum_up(estimate: Estimate, price_per_hour: float | None) -> Iterator[tuple[str, str]]:
    if estimate.seconds is not None:
        starting = format_duration(estimate.starting)
        yield "time", f"{format_duration(estimate.seconds)}, of which {starting} to start and load"
    else:
        yield "time", "unknown"
    if price_per_hour is not None:
        yield "money", format_money(estimate.seconds, price_per_hour)
