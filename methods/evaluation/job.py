"""One job: a model, a method, its cells and a list of tasks, down to records.

Everything that can be known before weights are loaded is checked first. The model is loaded when
the first vector is needed, so a job whose results all stand costs no more than reading its data.
A task that fails is a record with its error; the others go on, and the job ends by saying what
failed.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import mteb
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from tqdm import tqdm

from methods.backbone.adapters import chained, training_summary
from methods.backbone.forward import resolve_layer
from methods.backbone.hardware import reset_peak_memory
from methods.backbone.loader import Backbone, identity, load_backbone, peek
from methods.base import Method
from methods.config.resolve import Plan, open_store
from methods.config.settings import TaskList
from methods.config.trained_as import differences, trained_folders
from methods.encoding.embedder import Embedder, Usage
from methods.encoding.encoder import Encoder
from methods.encoding.mteb_interface import Variant, describe_variant, method_fields
from methods.evaluation import entries, geometry, per_example, summary
from methods.evaluation.records import Record
from methods.evaluation.task_data import DataDigest, load_data, unload_data
from methods.evaluation.tasks import explain_missing, load_tasks
from methods.identity import engine_digest
from methods.provenance import command_of, environment, portable
from methods.records import CellRecord, PartRecord, TaskRecord, check_writable

log = logging.getLogger(__name__)

AXES = ("attention", "pooling", "layer")


class TasksFailed(RuntimeError):
    """Some tasks of a job failed; their records say how."""


@dataclass
class Job:
    """A resolved job. `run` evaluates what is not there yet; `overrides` reproduces it.

    cache: `folder` and `gib` of the embedding cache. swept: it is one of several jobs.
    """

    plan: Plan
    tasks: TaskList
    runs: Path
    cache: Mapping[str, Any] = field(default_factory=lambda: {"folder": None, "gib": 0})
    overrides: list[str] = field(default_factory=list)
    config: Mapping[str, Any] = field(default_factory=dict)
    config_dir: str | None = None
    verb: str = "evaluate"
    swept: bool = False
    _told: bool = field(default=False, init=False)

    def run(self) -> float | None:
        """Evaluate every task of every cell; the mean of main scores, for a sweeper to maximise.

        Raises ValueError for what cannot be run and TasksFailed, at the end, for what failed.
        """
        check_writable(self.runs)
        datasets.disable_progress_bars()
        # mteb stops logistic regressions at 100 rounds, and some name no text of a class: no news.
        for category in (ConvergenceWarning, UndefinedMetricWarning):
            warnings.filterwarnings("ignore", category=category)
        tasks, missing = load_tasks(self.tasks)
        if self.cells[0].uses_instructions:
            for task in tasks:
                self.plan.instructions.find(task.metadata)
        for cell, record in zip(self.cells, self.records, strict=True):
            record.describe(about := self._about(cell))
            for name, (trained, now) in about.trained_as.items():
                log.warning(
                    "%s: it was trained with %s, and is evaluated with %s as asked for",
                    name,
                    trained,
                    now,
                )
            for name, reason in missing.items():
                record.write_entry_unless_scored(name, TaskRecord(status="missing", error=reason))
        if not tasks:
            raise ValueError(explain_missing(missing))
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
        """Log all scores, whether computed now or before, as a line or a table; their mean."""
        scores = {
            (task.metadata.name, place): summary.stored_score(record, task)
            for task in tasks
            for place, record in enumerate(self.records)
        }
        about = {"missing": missing, "brief": self.brief}
        log.info(summary.final_scores(self.plan.name, tasks, self.cells, scores, **about))
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

    @property
    def brief(self) -> bool:
        """Whether scores are said in one line: a few of one cell, among those of other jobs."""
        return self.swept and len(self.cells) == 1 and 0 < len(self.tasks.names) <= summary.COLUMNS

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The backbone's identity, known without its weights."""
        return identity(self.plan.spec)

    @cached_property
    def records(self) -> list[Record]:
        """One record a cell."""
        return [Record(self.runs, self._variant(cell).model_meta) for cell in self.cells]

    @cached_property
    def backbone(self) -> Backbone:
        """The model, loaded when first asked for."""
        return load_backbone(self.plan.spec)

    @cached_property
    def shared(self) -> Embedder:
        """The pass all cells share."""
        self.backbone.require(self.cells[0].attention)
        return Embedder(self.backbone, self.cells, open_store(**self.cache))

    def _task(self, task: Any) -> list[str]:
        """Evaluate one task in every cell that lacks it; what failed, by name."""
        name = task.metadata.name  # own data under mteb's name get one of their own
        try:
            data = load_data(task)
        except ValueError as error:
            log.error("%s", error)
            for record in self.records:
                entry = entries.task_entry(task, "failed", {}, error=str(error))
                record.write_entry_unless_scored(name, entry)
            return [name]
        failed = []
        for index, record in enumerate(self.records):
            failed += self._cell(task, index, record, data)
        unload_data(task)
        return failed

    def _cell(self, task: Any, index: int, record: Record, data: DataDigest) -> list[str]:
        """Score what a cell lacks of a task; what failed, by name."""
        name = task.metadata.name
        stamps = entries.stamp_parts(task, self.cells[index], data)
        before = record.entry(name)
        scored = record.scored(name, before)
        new = [part for part in stamps if not entries.is_same_score(scored.get(part), stamps[part])]
        stale = [part for part in new if part in scored]
        kept = {part: stamp for part, stamp in scored.items() if part not in stale}
        self._tell_of_engines(kept[part] for part in stamps if part in kept)
        if not new:
            if before["status"] != "done":  # another part of it failed or was stopped
                lost = entries.lost_examples(task, record, kept)
                record.write_entry(
                    name, entries.task_entry(task, "done", kept, before=before, **lost)
                )
            return []
        shared = self.shared  # a model that cannot load ends the job
        record.drop_scores(name, stale)
        asked = {**kept, **{part: stamps[part] for part in new}}
        record.write_entry(name, entries.task_entry(task, "running", asked, before=before))
        start = time.perf_counter()
        watch = geometry.watch(task)
        folder = tempfile.TemporaryDirectory(prefix="dec2vec-")
        try:
            encoder = Encoder(
                self.backbone,
                self.cells[index],
                instructions=self.plan.instructions,
                variant=self._variant(self.cells[index]),
                shared=shared,
                cell=index,
                watch=watch,
            )
            shared.usage = Usage()
            reset_peak_memory(self.backbone.choices["device"])
            result = mteb.evaluate(
                encoder,  # pyright: ignore[reportArgumentType]  (its protocol includes __init__)
                task,
                cache=record.cache,
                overwrite_strategy="only-missing",
                co2_tracker=False,
                encode_kwargs={"batch_size": 1024, "show_progress_bar": False},
                prediction_folder=folder.name,
                show_progress_bar=False,
            )
            cost = entries.costs(self.backbone, shared.usage, time.perf_counter() - start)
            details = self._details(task, record, watch, Path(folder.name), result.task_results[0])
            entries.add_up(before if kept else {}, cost, details)
            if details["examples"]:
                details |= entries.lost_examples(task, record, asked)
        except Exception as error:  # recorded and reported; the other tasks go on
            message = f"{type(error).__name__}: {error}"
            # A full disk is no fault of the code: what it says is all there is to know.
            shown = message if isinstance(error, OSError) else f"\n{traceback.format_exc()}"
            log.error("%s failed on %s: %s", self.plan.name, name, shown)
            entry = entries.task_entry(task, "failed", asked, before=before, error=message)
            record.write_entry(name, entry)
            return [f"{name} ({message.splitlines()[0][:200]})"]
        finally:
            folder.cleanup()
        record.write_entry(name, entries.task_entry(task, "done", asked, **cost, **details))
        score = 100 * (summary.main_score(result.task_results[0], task) or 0)
        about = f"{self.plan.name} {summary.cell_name(self.cells[index])} {name}"
        level = logging.DEBUG if self.brief else logging.INFO
        log.log(level, "%s, %s: %.2f", about, summary.splits_of(task), score)
        return []

    def _tell_of_engines(self, kept: Iterable[PartRecord]) -> None:
        """Say, once a job, that scores stay which another version of the engine made."""
        if not self._told and any(stamp.engine != engine_digest() for stamp in kept):
            self._told = True
            log.info(
                "scores made by another version of the engine stay as they are (records say which);"
                " to compute them again delete their folder under %s, or give another runs=DIR",
                self.runs / "results",
            )

    def _details(
        self, task: Any, record: Record, watch: geometry.Watch, folder: Path, result: Any
    ) -> dict[str, Any]:
        """What is known beyond the score: per-example values and the vectors' geometry."""
        faults: list[str] = []
        measured = geometry.describe(task, watch, faults=faults)
        details: dict[str, Any] = {"geometry": measured, "examples": None}
        try:
            found = per_example.collect_or_raise(task, folder, result)
            details["examples"] = found and record.keep_examples(task.metadata.name, found)
        except per_example.CannotKeep as error:  # a score stands without them
            log.warning("%s", error)
            details["examples_error"] = str(error)
        for fault in faults:
            log.warning("no geometry of %s", fault)
        return details | ({"geometry_error": "; ".join(faults)} if faults else {})

    def _variant(self, cell: Method) -> Variant:
        return describe_variant(
            cell,
            method=self.plan.name,
            identity=self.identity,
            instructions=self.plan.instructions,
            adapters=self.plan.spec.adapters,
        )

    def _about(self, cell: Method) -> CellRecord:
        spec = self.plan.spec
        path = getattr(spec.source, "path", None)
        return CellRecord(
            model=spec.name,
            revision=self.identity["weights"],
            adapters=portable(list(spec.adapters)),
            training=[training_summary(adapter) for adapter in chained(spec.adapters)],
            trained_as=differences(cell, trained_folders(spec.adapters, path)),
            method=self.plan.name,
            options=_options(cell),
            default={axis: getattr(type(cell), axis) for axis in AXES},
            attention=cell.attention,
            pooling=cell.pooling,
            layer=cell.layer,
            dtype=self.identity["dtype"],
            instructions=self.plan.instructions.source if cell.uses_instructions else None,
            digest=self._variant(cell).experiment["digest"],
            method_config=method_fields(cell),
            backbone=self.identity,
            reports=[self.config["report"]] if self.config.get("report") else [],
            command=command_of(self.verb, self.overrides, self.config_dir),
            config_dir=portable(self.config_dir),
            config=portable(dict(self.config)),
            **environment(),
        )


def _options(cell: Method) -> dict[str, Any]:
    """The fields that differ from the method's own defaults, axes aside."""
    defaults = {f.name: f.default for f in dataclasses.fields(cell)}
    return {
        name: value
        for name, value in method_fields(cell).items()
        if name not in (*AXES, "class") and value != defaults[name]
    }
