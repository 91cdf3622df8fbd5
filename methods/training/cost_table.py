"""Format the estimate of a training: what it takes, and what the figures rest on."""

from __future__ import annotations

from collections.abc import Iterator

from methods.evaluation.amounts import format_bytes, format_duration, format_money, format_number
from methods.evaluation.cost_table import explain_unmeasured
from methods.training.estimate import TrainingEstimate


def format_training(found: TrainingEstimate, price_per_hour: float | None) -> str:
    """Return a line for each cost."""
    lines = [f"training {found.title} into {found.folder}, an estimate; nothing is written"]
    notes = [*([("steps", "none: it is trained already")] if found.done else _describe(found))]
    notes += _describe_evaluations(found)
    if found.evaluations:
        notes.append(("all", format_duration(found.total)))
    if price_per_hour is not None:
        notes.append(("money", format_money(found.total, price_per_hour)))
    return "\n".join([*lines, *(f"  {about:10} {note}" for about, note in notes)])


def format_training_line(found: TrainingEstimate, price_per_hour: float | None) -> str:
    """Return the estimate of one training of a sweep in a line."""
    parts = [f"{found.steps} steps", f"{format_number(found.tokens, exact=False)} tokens"]
    parts = ["trained already"] if found.done else parts
    parts.append(f"time {format_duration(found.total)}")
    if price_per_hour is not None:
        parts.append(format_money(found.total, price_per_hour))
    parts += [f"not measured: {found.unknown}"] if found.unknown else []
    return f"estimate of training {found.folder}: {', '.join(parts)}"


def _describe(found: TrainingEstimate) -> Iterator[tuple[str, str]]:
    resumed = f", after {found.taken} that are done" if found.taken else ""
    yield (
        "steps",
        f"{found.steps:,} of {found.step_rows} rows{resumed}; {found.rows:,} rows of data",
    )
    number = format_number(found.tokens, exact=False)
    yield "tokens", f"{number}, by those of {found.counted:,} rows from all over the data"
    if found.unknown and found.size is not None:
        each = found.size.linear_weights * found.tokens
        operations = f"{4.0 * each:.2g} to {6.0 * each:.2g}: four (adapters) to six (all weights)"
        yield from explain_unmeasured(
            found.unknown, found.size, operations, beside="the training's"
        )
        yield "time", "unknown"
        return
    steps, tokens, seconds = found.measured
    if steps:
        yield (
            "speed",
            f"{tokens / seconds:,.0f} tokens/s on {found.device}, {seconds / steps:.2f} s a step, "
            f"measured on {steps} steps",
        )
        what = "of this process" if found.device == "cpu" else "of the device"
        yield "memory", f"{format_bytes(found.memory)} {what} at its peak, measured"
        yield "trained", "{:,} of {:,} numbers".format(*found.trained)
    both = found.starting + (found.seconds or 0)
    starting = format_duration(found.starting)
    yield "time", f"{format_duration(both)}, of which {starting} to start and load"


def _describe_evaluations(found: TrainingEstimate) -> Iterator[tuple[str, str]]:
    for label, times, estimate in found.evaluations:
        scored = sum(task.note == "scored already" for task in estimate.tasks)
        number, computed = len(estimate.tasks), format_number(estimate.computed)
        what = f"{number} {'task' if number == 1 else 'tasks'}, {computed} tokens to compute"
        what += f", {scored} scored already" if scored else ""
        what += f"; not measured: {estimate.unknown}" if estimate.unknown else ""
        often = f"{times} times " if times != 1 else ""
        yield label, f"{often}{format_duration(estimate.seconds)}: {what}"
