"""The entry of a task in a cell's record: which scores it has, from what, and what they cost."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import mteb

from methods.backbone.hardware import peak_memory
from methods.backbone.loader import Backbone
from methods.base import Method
from methods.encoding.embedder import Usage
from methods.evaluation.own_data import SHOWN, data_notes
from methods.evaluation.per_example import statistic_of
from methods.evaluation.records import Part, Record, nest
from methods.evaluation.task_data import DataDigest, asked_parts
from methods.identity import class_code, digest, engine_digest
from methods.provenance import commit
from methods.records import PartRecord, Status, TaskRecord

log = logging.getLogger(__name__)


def stamp_parts(task: Any, cell: Method, data: DataDigest) -> dict[Part, PartRecord]:
    """Return what the scores that are asked for would be made from."""
    made = {
        "code": class_code(type(cell)),
        "engine": engine_digest(),
        "mteb": mteb.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit()["commit"],
    }
    return {part: PartRecord(data=data.parts[part], **made) for part in asked_parts(task)}


def is_same_score(there: PartRecord | None, asked: PartRecord) -> bool:
    """Return whether a score is the one asked for: the same data read by the same method."""
    return there is not None and (there.data, there.code) == (asked.data, asked.code)


def task_entry(
    task: Any,
    status: Status,
    parts: Mapping[Part, PartRecord],
    *,
    before: Mapping[str, Any] | None = None,
    **more: Any,
) -> TaskRecord:
    """Return how a task stands. before: its entry until now, whose costs and details stay."""
    known = {field.name for field in fields(TaskRecord)} - {"error"}
    stays = {key: value for key, value in (before or {}).items() if key in known}
    asked = asked_parts(task)
    made = {
        "status": status,
        "type": task.metadata.type,
        "main_score": task.metadata.main_score,
        "splits": list(dict.fromkeys(split for split, _ in [*parts, *asked])),
        "subsets": list(dict.fromkeys(subset for _, subset in [*parts, *asked])),
        "missing_parts": getattr(task, "missing_parts", []),
        "parts": nest(parts),
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit()["commit"],
        **{key: _common(key, parts.values()) for key in ("data", "code", "engine")},
        **data_notes(task),
    }
    return TaskRecord(**{**stays, **made, **more})


def costs(backbone: Backbone, usage: Usage, seconds: float) -> dict[str, Any]:
    """Return what scoring a task took, and how the model ran."""
    speed = usage.tokens_computed / usage.seconds if usage.tokens_computed else None
    return {
        "seconds": round(seconds, 3),
        "texts": usage.texts,
        "cut_texts": usage.cut,
        "tokens": usage.tokens,
        "tokens_computed": usage.tokens_computed,
        "tokens_per_second": speed and round(speed, 1),
        "linear_weights": backbone.linear_weights,
        "peak_memory_mib": peak_memory(backbone.choices["device"]),
        **backbone.choices,
    }


def add_up(before: Mapping[str, Any], cost: dict[str, Any], details: dict[str, Any]) -> None:
    """Add what parts scored earlier took, and keep what is known of them beyond the score."""
    for name in ("seconds", "texts", "cut_texts", "tokens", "tokens_computed"):
        cost[name] = round(cost[name] + (before.get(name) or 0), 3)
    for split, subsets in (before.get("geometry") or {}).items():
        details["geometry"][split] = {**subsets, **details["geometry"].get(split, {})}
    details["examples"] = details["examples"] or before.get("examples")


def lost_examples(task: Any, record: Record, parts: Iterable[Part]) -> dict[str, str]:
    """Return what to state of parts that have a score and should have examples, but have none: a
    run was stopped between the two, or kept none yet."""
    name = task.metadata.name
    lost = record.without_examples(name, parts) if statistic_of(task) else []
    if not lost:
        return {}
    places = ", ".join(f"{split} ({subset})" for split, subset in lost[:SHOWN])
    more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
    said = (
        f"{name} has scores without examples, so without intervals: {places}{more}; the run that "
        f"scored them was stopped. Delete {record.result_file(name).name} of this cell to score "
        f"the task again"
    )
    log.warning("%s", said)
    return {"examples_error": said}


def _common(key: str, parts: Iterable[PartRecord]) -> str | None:
    """What all parts have in common, or a digest of what each has."""
    values = list(dict.fromkeys(getattr(part, key) for part in parts))
    return values[0] if len(values) == 1 else digest(values, 16) if values else None
