"""Estimate what an evaluation will cost before it runs: tokens, passes, time, memory, money.

Data are loaded as the job loads them, and its texts are tokenized: all of a task's, or a sample
where there are many (dry_run.COUNTED). The speed is measured on some hundreds of them, on this
machine (speed.py). What has a score already, and vectors that are cached, cost nothing. Nothing is
written.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from methods.backbone.loader import Backbone, BackboneSpec, load_config
from methods.backbone.weights import load_tokenizer
from methods.config.resolve import open_store
from methods.encoding.store import Store, count_bytes
from methods.evaluation import scoring, summary
from methods.evaluation.amounts import format_bytes
from methods.evaluation.costs import Estimate, TaskCost
from methods.evaluation.dry_run import Collector, Side, choose_dimensions, run_dry
from methods.evaluation.job import Job
from methods.evaluation.model_size import ModelSize, find_free_memory, measure_model
from methods.evaluation.own_tasks.make import state_instructions
from methods.evaluation.records import Part
from methods.evaluation.speed import CacheReader, Group, Speed, make_groups, measure_speed
from methods.evaluation.task_data import list_requested_parts, load_data, unload_data
from methods.evaluation.tasks import explain_missing, load_tasks
from methods.folders import find_embeddings_folder

log = logging.getLogger(__name__)
UNUSABLE = (ValueError, OSError, ImportError, RuntimeError, MemoryError)


@dataclass
class _Plan:
    """What is known of a task before the model is loaded. lacking: number of columns without a
    score; places: their cells. scoring: seconds for a column; loading: of its data."""

    name: str
    note: str = ""
    lacking: int = 0
    places: Sequence[int] = ()
    sides: list[Side] = field(default_factory=list)
    scoring: float = 0.0
    loading: float = 0.0


def estimate_evaluation(
    job: Job,
    *,
    starting: float = 0.0,
    from_records: bool = True,
    speed: Speed | None = None,
) -> Estimate:
    """Return what a job will cost. Raises ValueError for what cannot be run.

    starting: seconds that the process took until now. from_records: whether what has a score
    already costs nothing. speed: if it was measured before, on the same model and method.
    """
    if (method := job.cells[0]).sites and method.rows_per_text > 1:
        raise ValueError(
            f"the cost of {type(method).__name__} cannot be estimated: it computes the rows of a "
            f"text together, and an estimate measures rows; leave estimate=true out"
        )
    with ExitStack() as stack:
        stack.enter_context(scoring.quiet_libraries())
        if not job.runs.exists():  # reading a result would make it
            job = replace(job, runs=Path(stack.enter_context(TemporaryDirectory())))
        tasks, missing = load_tasks(job.tasks)
        if not tasks:
            raise ValueError(explain_missing(missing))
        if job.cells[0].uses_instructions:
            state_instructions(tasks, job.evaluation.instructions)
        bar = stack.enter_context(tqdm(tasks, desc="estimating", leave=False))
        plans = [_plan_task(job, task, from_records=from_records) for task in bar]
    title = f"{job.evaluation.name} ({summary.name_column(*job.columns[0])})"
    if len(job.columns) > 1:
        title = f"{job.evaluation.name} ({job.cells[0].attention}, {len(job.columns)} cells)"
    estimate = Estimate(title=title, model=job.evaluation.spec.name, missing=missing)
    estimate.starting, estimate.speed = starting, speed
    _add_costs(estimate, job, plans)
    return estimate


def _plan_task(job: Job, task: Any, *, from_records: bool) -> _Plan:
    """Load a task's data, and find its texts that are not scored in every cell."""
    start = time.perf_counter()
    try:
        data = load_data(task)
    except ValueError as error:
        return _Plan(task.metadata.name, note=f"fails: {error}")
    plan = _Plan(task.metadata.name, loading=time.perf_counter() - start)
    lacking: list[Sequence[Part]] = [list_requested_parts(task)] * len(job.columns)
    if from_records:
        lacking = [
            list(scoring.find_missing(task, cell, record, data).new)
            for (cell, _), record in zip(job.columns, job.records, strict=True)
        ]
    plan.lacking = sum(map(bool, lacking))
    found = {job.find_cell(column) for column, parts in enumerate(lacking) if parts}
    plan.places = sorted(found)
    parts = [part for part in list_requested_parts(task) if any(part in own for own in lacking)]
    if not parts:
        plan.note = "scored already"
    else:
        size = job.text_config.hidden_size
        about = job.evaluation.instructions, job.describe_variant(*job.columns[0])
        collector = Collector(job.cells[0], *about, choose_dimensions(task, size))
        try:
            plan.scoring = run_dry(task, parts, collector, dimensions=size)
            plan.sides = [side for side in collector.sides.values() if side.kept]
        except Exception as error:  # whatever mteb raises; the other tasks are estimated
            log.debug("no estimate of %s", plan.name, exc_info=True)
            plan.note = f"cannot be estimated: {type(error).__name__}: {error}"
    unload_data(task)
    return plan


def _add_costs(estimate: Estimate, job: Job, plans: Sequence[_Plan]) -> None:
    """Count tokens with the model's tokenizer, measure the speed, and add what each task costs."""
    backbone, known = None, set()
    tokenizer: Any = None
    if any(plan.sides for plan in plans):
        start = time.perf_counter()
        backbone, tokenizer, estimate.unknown = _load_model(estimate, job)
        estimate.starting += time.perf_counter() - start
    reader = backbone and CacheReader(backbone, job.cells, _open_existing_store(job.cache))
    groups = [
        [
            group
            for side in plan.sides
            for group in make_groups(
                side, job.cells[0], tokenizer, known=known, reader=reader, places=plan.places
            )
        ]
        for plan in plans
    ]
    computed = [group for own in groups for group in own if len(group.inputs)]
    if backbone is not None:
        estimate.choices = backbone.choices
        if computed and estimate.speed is None:
            estimate.speed = measure_speed(backbone, job.cells, computed)
    for plan, own in zip(plans, groups, strict=True):
        estimate.tasks.append(_sum_groups(plan, own, backbone, estimate.speed, job))
    reads = sum(len(cell.layers) for cell in job.cells)
    each = count_bytes(job.text_config.hidden_size) * reads
    estimate.vectors_bytes = each * sum(task.vectors for task in estimate.tasks)


def _load_model(estimate: Estimate, job: Job) -> tuple[Backbone | None, Any, str]:
    """Return the model, its tokenizer, and why there is no model, if it cannot be loaded here."""
    spec = job.evaluation.spec
    estimate.size = measure_model(spec)
    why = explain_no_room(estimate.size, spec)
    if not why:
        try:
            backbone = job.backbone
            backbone.require_attention(job.cells[0].attention)
            return backbone, backbone.tokenizer, ""
        except UNUSABLE as error:
            why = f"{type(error).__name__}: {error}"
    return None, load_tokenizer(load_config(spec)[0], spec), why


def explain_no_room(size: ModelSize, spec: BackboneSpec) -> str:
    """Return why a model's weights do not fit into the memory here; nothing where they do."""
    free = find_free_memory(spec.device)
    if free is None or size.bytes <= free:
        return ""
    return (
        f"the weights take {format_bytes(size.bytes)} in {size.dtype}, and {format_bytes(free)} "
        f"are free here"
    )


def _open_existing_store(cache: Mapping[str, Any]) -> Store | None:
    """Return the job's cache of vectors, or None where it would have to be made first."""
    if cache["folder"] is None:
        return None
    auto = cache["folder"] == "auto"
    folder = find_embeddings_folder() if auto else Path(cache["folder"]).expanduser()
    return open_store(str(folder), cache["gib"]) if (folder / "data.mdb").is_file() else None


def _sum_groups(
    plan: _Plan, groups: Sequence[Group], backbone: Backbone | None, speed: Speed | None, job: Job
) -> TaskCost:
    cost = TaskCost(name=plan.name, note=plan.note, exact=all(group.exact for group in groups))
    cost.seconds = plan.loading + plan.scoring * plan.lacking
    for group in groups:
        cost.texts += group.texts
        cost.tokens += group.tokens
        cost.computed += group.computed
        cost.vectors += len(group.inputs) * group.scale
        if backbone is None:
            cost.passes = cost.seconds = None
        elif cost.passes is not None and cost.seconds is not None:
            packed = job.cells[0].attention in backbone.packed
            cost.passes += group.count_passes(backbone.batch_tokens, packed=packed)
            cost.seconds += group.seconds * plan.lacking
            cost.seconds += speed.predict(group) if speed else 0.0
    return cost
