"""Make a task's entry in a cell's record: what its scores were made from and what they cost."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import mteb

from methods.backbone.hardware import measure_peak_memory
from methods.backbone.loader import Backbone
from methods.base import Method
from methods.encoding.call import Usage
from methods.evaluation.own_data import SHOWN, describe_data
from methods.evaluation.per_example import find_statistic
from methods.evaluation.records import Part, Record, nest_stamps
from methods.evaluation.task_data import DataDigest, list_requested_parts
from methods.identity import digest, digest_class, digest_engine
from methods.provenance import find_commit
from methods.records import PartRecord, Status, TaskRecord

log = logging.getLogger(__name__)


def stamp_parts(task: Any, cell: Method, data: DataDigest) -> dict[Part, PartRecord]:
    """Return stamps of what the requested scores would be made from."""
    made = {
        "code": digest_class(type(cell)),
        "engine": digest_engine(),
        "mteb": mteb.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "commit": find_commit()["commit"],
    }
    return {part: PartRecord(data=data.parts[part], **made) for part in list_requested_parts(task)}


def is_same_score(stored: PartRecord | None, requested: PartRecord) -> bool:
    """Return whether a score is the requested one: of the same data and the same method code."""
    return stored is not None and (stored.data, stored.code) == (requested.data, requested.code)


def make_entry(
    task: Any,
    status: Status,
    parts: Mapping[Part, PartRecord],
    *,
    before: Mapping[str, Any] | None = None,
    **more: Any,
) -> TaskRecord:
    """Return a task's entry. before: the entry until now, whose costs and details stay."""
    known = {field.name for field in fields(TaskRecord)} - {"error"}
    stays = {key: value for key, value in (before or {}).items() if key in known}
    requested = list_requested_parts(task)
    made = {
        "status": status,
        "type": task.metadata.type,
        "main_score": task.metadata.main_score,
        "splits": list(dict.fromkeys(split for split, _ in [*parts, *requested])),
        "subsets": list(dict.fromkeys(subset for _, subset in [*parts, *requested])),
        "missing_parts": getattr(task, "missing_parts", []),
        "parts": nest_stamps(parts),
        "date": time.strftime("%Y-%m-%d"),
        "commit": find_commit()["commit"],
        **{key: _merge_values(key, parts.values()) for key in ("data", "code", "engine")},
        **describe_data(task),
    }
    return TaskRecord(**{**stays, **made, **more})


def measure_costs(backbone: Backbone, usage: Usage, seconds: float) -> dict[str, Any]:
    """Return what scoring a task cost, and how the model was run."""
    speed = usage.tokens_computed / usage.seconds if usage.tokens_computed else None
    return {
        "seconds": round(seconds, 3),
        "texts": usage.texts,
        "cut_texts": usage.cut,
        "tokens": usage.tokens,
        "tokens_computed": usage.tokens_computed,
        "tokens_per_second": speed and round(speed, 1),
        "linear_weights": backbone.linear_weights,
        "vector_bytes": usage.vector_bytes,
        "peak_memory_mib": measure_peak_memory(backbone.choices["device"]),
        **backbone.choices,
    }


def add_earlier(before: Mapping[str, Any], cost: dict[str, Any], details: dict[str, Any]) -> None:
    """Add the costs of parts scored earlier, and their details beyond the score."""
    for name in ("seconds", "texts", "cut_texts", "tokens", "tokens_computed"):
        cost[name] = round(cost[name] + (before.get(name) or 0), 3)
    for split, subsets in (before.get("geometry") or {}).items():
        details["geometry"][split] = {**subsets, **details["geometry"].get(split, {})}
    details["examples"] = details["examples"] or before.get("examples")


def explain_lost_examples(task: Any, record: Record, parts: Iterable[Part]) -> dict[str, str]:
    """Return what to state of parts that have a score and should have examples, but have none.

    That is so where a run was stopped between the two, or could not store them.
    """
    name = task.metadata.name
    lost = record.list_without_examples(name, parts) if find_statistic(task) else []
    if not lost:
        return {}
    places = ", ".join(f"{split} ({subset})" for split, subset in lost[:SHOWN])
    more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
    message = (
        f"{name} has scores without examples, so without intervals: {places}{more}; the run that "
        f"scored them was stopped. Delete {record.find_result_file(name).name} of this cell to "
        f"score the task again"
    )
    log.warning("%s", message)
    return {"examples_error": message}


def _merge_values(key: str, parts: Iterable[PartRecord]) -> str | None:
    """Return the value that all parts share, or a digest of their values."""
    values = list(dict.fromkeys(getattr(part, key) for part in parts))
    return values[0] if len(values) == 1 else digest(values, 16) if values else None
