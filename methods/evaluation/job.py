"""One job: a model, a method, its cells and a list of tasks, down to records.

Everything that can be known before weights are loaded is checked first. The model is loaded when
the first vector is needed, so a job whose results all stand costs no more than reading its data.
A task that fails is a record with its error; the others go on, and the job ends by saying what
failed.
"""

from __future__ import annotations

import dataclasses
import logging
import resource
import shlex
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import mteb
import torch
from numpy.linalg import LinAlgError
from sklearn.exceptions import ConvergenceWarning
from tqdm import tqdm

from methods.backbone.adapters import chained, told
from methods.backbone.forward import resolve_layer
from methods.backbone.loader import Backbone, identity, load_backbone, peek
from methods.base import Method
from methods.evaluation import examples, geometry, summary
from methods.evaluation.config import Plan, store_of
from methods.evaluation.encoder import Encoder, model_meta
from methods.evaluation.planner import SharedPass, Usage
from methods.evaluation.records import (
    Record,
    check_writable,
    code_fingerprint,
    commit,
    digest,
    environment,
)
from methods.evaluation.tasks import TaskList, load_data, load_tasks, unload_data

log = logging.getLogger(__name__)

AXES = ("attention", "pooling", "layer")


class TasksFailed(RuntimeError):
    """Some tasks of a job failed; their records say how."""


@dataclass
class Job:
    """A resolved job. `run` evaluates what is not there yet; `overrides` reproduces it.

    cache: `folder` and `gib` of the embedding cache (config.store_of).
    """

    plan: Plan
    tasks: TaskList
    runs: Path
    cache: Mapping[str, Any] = field(default_factory=lambda: {"folder": None, "gib": 0})
    overrides: list[str] = field(default_factory=list)
    config: Mapping[str, Any] = field(default_factory=dict)
    verb: str = "evaluate"

    def run(self) -> float | None:
        """Evaluate every task of every cell; the mean of main scores, for a sweeper to maximise.

        Raises ValueError for what cannot be run and TasksFailed, at the end, for what failed.
        """
        check_writable(self.runs)
        datasets.disable_progress_bars()
        # mteb stops logistic regressions at 100 rounds; that is its protocol, not news.
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        tasks, missing = load_tasks(self.tasks)
        if self.cells[0].instructed:
            for task in tasks:
                self.plan.instructions.find(task.metadata)
        for cell, record in zip(self.cells, self.records, strict=True):
            record.describe(self._about(cell))
            for name, reason in missing.items():
                record.note_absent(name, {"status": "missing", "error": reason})
        with tqdm(tasks, desc=self.plan.name) as bar:
            failed = [name for task in bar for name in self._task(task)]
        score = self._report_scores(tasks, missing)
        if failed:
            raise TasksFailed(
                f"{len(failed)} failed: {', '.join(failed)}; errors are in the records and the log"
            )
        if score is None:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
            raise TasksFailed(f"nothing was scored: {reasons or 'no result can be read'}")
        return score

    def _report_scores(self, tasks: Sequence[Any], missing: Mapping[str, str]) -> float | None:
        """Log the table of all scores, whether computed now or before; their mean."""
        scores = {
            (task.metadata.name, place): summary.stored_score(record, task)
            for task in tasks
            for place, record in enumerate(self.records)
        }
        table = summary.score_table(tasks, self.cells, scores, missing=missing)
        cell = _cell_name(self.cells[0]) if len(self.cells) == 1 else self.cells[0].attention
        log.info("%s (%s), main scores x 100:\n%s", self.plan.name, cell, table)
        found = [score for score in scores.values() if score is not None]
        return sum(found) / len(found) if found else None

    @cached_property
    def cells(self) -> list[Method]:
        """The job's methods, layers resolved against the model's own number of them."""
        _, config = peek(self.plan.spec)
        number = config.get_text_config().num_hidden_layers
        cells = self.plan.cells
        if self.plan.all_layers:
            cells = [replace(c, layer=at) for at in (*range(number), -1) for c in cells]
        return [replace(c, layer=resolve_layer(c.layer, number)) for c in cells]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The backbone's identity, known without its weights."""
        return identity(self.plan.spec)

    @cached_property
    def records(self) -> list[Record]:
        """One record a cell."""
        return [Record(self.runs, self._meta(cell)) for cell in self.cells]

    @cached_property
    def backbone(self) -> Backbone:
        """The model, loaded when first asked for."""
        return load_backbone(self.plan.spec)

    @cached_property
    def shared(self) -> SharedPass:
        """The pass all cells share."""
        self.backbone.require(self.cells[0].attention)
        return SharedPass(self.backbone, self.cells, store_of(**self.cache))

    def _task(self, task: Any) -> list[str]:
        """Evaluate one task in every cell that lacks it; what failed, by name."""
        name = task.metadata.name
        try:
            fingerprint = load_data(task)
        except ValueError as error:
            log.error("%s", error)
            for record in self.records:
                record.note_absent(name, self._entry(task, "failed", error=str(error)))
            return [name]
        failed = []
        for index, record in enumerate(self.records):
            stamp = {"data": fingerprint, "code": code_fingerprint(type(self.cells[index]))}
            if not record.finished(task, **stamp):
                failed += self._cell(task, index, record, stamp)
        unload_data(task)
        return failed

    def _cell(self, task: Any, index: int, record: Record, stamp: Mapping[str, str]) -> list[str]:
        name, shared = task.metadata.name, self.shared  # a model that cannot load ends the job
        keep = record.resumable(task, **stamp)
        record.note(name, self._entry(task, "running", **stamp))
        start = time.perf_counter()
        watch = geometry.watch(task)
        folder = tempfile.TemporaryDirectory(prefix="dec2vec-")
        try:
            encoder = Encoder(
                self.backbone,
                self.cells[index],
                instructions=self.plan.instructions,
                meta=record.meta,
                shared=shared,
                cell=index,
                watch=watch,
            )
            shared.usage = Usage()
            result = mteb.evaluate(
                encoder,  # pyright: ignore[reportArgumentType]  (its protocol includes __init__)
                task,
                cache=record.cache,
                overwrite_strategy="only-missing" if keep else "always",
                co2_tracker=False,
                encode_kwargs={"batch_size": 1024, "show_progress_bar": False},
                prediction_folder=folder.name,
                show_progress_bar=False,
            )
            cost = self._cost(shared.usage, time.perf_counter() - start)
            details = self._details(task, record, watch, Path(folder.name), result.task_results[0])
        except Exception as error:  # recorded and reported; the other tasks go on
            log.error("%s failed on %s:\n%s", self.plan.name, name, traceback.format_exc())
            message = f"{type(error).__name__}: {error}"
            record.note(name, self._entry(task, "failed", error=message, **stamp))
            return [f"{name} ({message.splitlines()[0][:200]})"]
        finally:
            folder.cleanup()
        record.note(name, self._entry(task, "done", **stamp, **cost, **details))
        score = 100 * (summary.main_score(result.task_results[0], task) or 0)
        about = f"{self.plan.name} {_cell_name(self.cells[index])} {name}"
        log.info("%s, %s: %.2f", about, summary.splits_of(task), score)
        return []

    def _entry(self, task: Any, status: str, **more: Any) -> dict[str, Any]:
        return {
            "status": status,
            "type": task.metadata.type,
            "main_score": task.metadata.main_score,
            "splits": list(task.eval_splits),
            "subsets": list(task.hf_subsets),
            "missing_parts": getattr(task, "missing_parts", []),
            "date": time.strftime("%Y-%m-%d"),
            "commit": commit()["commit"],
            **more,
        }

    def _cost(self, usage: Usage, seconds: float) -> dict[str, Any]:
        speed = usage.tokens_computed / usage.seconds if usage.tokens_computed else None
        return {
            "seconds": round(seconds, 3),
            "texts": usage.texts,
            "cut_texts": usage.cut,
            "tokens": usage.tokens,
            "tokens_computed": usage.tokens_computed,
            "tokens_per_second": speed and round(speed, 1),
            "linear_weights": self.backbone.linear_weights,
            "peak_memory_mib": _peak_memory(self.backbone.choices["device"]),
            **self.backbone.choices,
        }

    def _details(
        self, task: Any, record: Record, watch: geometry.Watch, folder: Path, result: Any
    ) -> dict[str, Any]:
        """What is known beyond the score: per-example values and the vectors' geometry."""
        found = examples.collect(task, folder, result)
        kept = found and record.keep_examples(task.metadata.name, found)
        try:
            measured = geometry.describe(task, watch)
        except (ValueError, TypeError, LinAlgError) as error:  # a score stands without it
            log.warning("%s has no geometry: %s", task.metadata.name, error)
            measured = {}
        return {"examples": kept, "geometry": measured}

    def _meta(self, cell: Method) -> Any:
        described = {**_fields(cell), "identity": self.identity, "instructions": self._table(cell)}
        adapters = "+".join(Path(adapter).name for adapter in self.plan.spec.adapters)
        return model_meta(
            self.plan.spec.name,
            revision=self.identity["weights"].replace(":", "-"),
            experiment={
                "method": self.plan.name,
                "attention": cell.attention,
                "pooling": cell.pooling,
                "layer": cell.layer,
                "adapter": adapters or None,
                "digest": digest(described),
            },
        )

    def _table(self, cell: Method) -> Any:
        """The instructions, where the method reads them: then they are part of what it is."""
        return dataclasses.asdict(self.plan.instructions) if cell.instructed else None

    def _about(self, cell: Method) -> dict[str, Any]:
        return {
            "model": self.plan.spec.name,
            "revision": self.identity["weights"],
            "adapters": list(self.plan.spec.adapters),
            "training": [told(adapter) for adapter in chained(self.plan.spec.adapters)],
            "method": self.plan.name,
            "options": _options(cell),
            "default": {axis: getattr(type(cell), axis) for axis in AXES},
            "attention": cell.attention,
            "pooling": cell.pooling,
            "layer": cell.layer,
            "dtype": self.identity["dtype"],
            "instructions": self.plan.instructions.source if cell.instructed else None,
            "digest": self._meta(cell).experiment_kwargs["digest"],
            "method_config": _fields(cell),
            "backbone": self.identity,
            "reports": [self.config["report"]] if self.config.get("report") else [],
            "command": f"dec2vec {self.verb} {shlex.join(self.overrides)}",
            "config": dict(self.config),
            **environment(),
        }


def _fields(cell: Method) -> dict[str, Any]:
    return {"class": f"{type(cell).__module__}.{type(cell).__qualname__}", **_values(cell)}


def _values(cell: Method) -> dict[str, Any]:
    return {f.name: getattr(cell, f.name) for f in dataclasses.fields(cell)}


def _options(cell: Method) -> dict[str, Any]:
    """The fields that differ from the method's own defaults, axes aside."""
    defaults = {f.name: f.default for f in dataclasses.fields(cell)}
    return {
        name: value
        for name, value in _values(cell).items()
        if name not in AXES and value != defaults[name]
    }


def _cell_name(cell: Method) -> str:
    return f"{cell.attention} {cell.pooling} {cell.layer}"


def _peak_memory(device: str) -> float:
    """MiB: of the process on a CPU, of the device on CUDA."""
    if device.startswith("cuda"):
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
