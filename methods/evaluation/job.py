"""Run a job: a model, a method, its cells and a list of tasks, into records.

Everything that can be checked before weights are loaded is checked first. The model is loaded when
the first vector is needed, so a job with complete results only reads its data.
A failed task is recorded with its error; the other tasks run, and the job ends with an error that
lists the failed ones.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from methods.backbone.adapters import stack_adapters, summarize_training
from methods.backbone.layers import resolve_layer
from methods.backbone.loader import Backbone, identify_backbone, load_backbone, load_config
from methods.base import Method
from methods.config.resolve import EvaluationSpec, open_store
from methods.config.settings import TaskList
from methods.config.trained_as import find_differences, list_trained_folders
from methods.encoding.embedder import Embedder
from methods.encoding.encoder import Encoder
from methods.encoding.mteb_interface import Variant, describe_method, describe_variant
from methods.encoding.post import NO_POST, Post
from methods.encoding.vectorize import list_layers
from methods.evaluation import entries, scoring, summary
from methods.evaluation.geometry import EmbeddingRecorder
from methods.evaluation.own_tasks.make import state_instructions
from methods.evaluation.records import Record
from methods.evaluation.task_data import load_data, unload_data
from methods.evaluation.tasks import explain_missing, load_tasks
from methods.identity import digest_engine
from methods.provenance import describe_environment, format_command, make_portable
from methods.records import CellRecord, PartRecord, TaskRecord, check_writable

log = logging.getLogger(__name__)

AXES = ("attention", "pooling", "layer")


class TasksFailed(RuntimeError):
    """Raised at the end of a job with failed tasks; their errors are in the records."""


@dataclass
class Job:
    """A resolved job. `run` evaluates what has no score yet; `overrides` reproduces it.

    cache: `folder` and `gib` of the embedding cache. swept: it is one of several jobs. chosen: what
    the learning rate of what is evaluated was chosen by, if it was.
    """

    evaluation: EvaluationSpec
    tasks: TaskList
    runs: Path
    cache: Mapping[str, Any] = field(default_factory=lambda: {"folder": None, "gib": 0})
    overrides: list[str] = field(default_factory=list)
    config: Mapping[str, Any] = field(default_factory=dict)
    config_dir: str | None = None
    verb: str = "evaluate"
    swept: bool = False
    chosen: Mapping[str, Any] | None = None
    _engines_reported: bool = field(default=False, init=False)

    def run(self) -> float | None:
        """Evaluate every task of every cell; return the mean main score, for a sweeper to maximise.

        Raises ValueError for what cannot be run and, at the end, TasksFailed for what failed.
        """
        check_writable(self.runs)
        with scoring.quiet_libraries():
            return self._run()

    def _run(self) -> float | None:
        tasks, missing = load_tasks(self.tasks)
        if self.cells[0].uses_instructions:
            state_instructions(tasks, self.evaluation.instructions)
        for (cell, post), record in zip(self.columns, self.records, strict=True):
            record.write_header(about := self._make_header(cell, post))
            for name, (trained, now) in about.trained_as.items():
                message = "%s: trained with %s, evaluated with %s, as overridden"
                log.warning(message, name, trained, now)
            for name, reason in missing.items():
                record.write_entry_unless_scored(name, TaskRecord(status="missing", error=reason))
        if not tasks:
            raise ValueError(explain_missing(missing))
        with tqdm(tasks, desc=self.evaluation.name) as bar:
            failed = [name for task in bar for name in self._score_task(task)]
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
        """Log all scores, computed now or before, as a line or a table; return their mean."""
        scores = {
            (task.metadata.name, place): summary.read_stored_score(record, task)
            for task in tasks
            for place, record in enumerate(self.records)
        }
        name, about = self.evaluation.name, {"missing": missing, "brief": self.brief}
        log.info(summary.format_final_scores(name, tasks, self.columns, scores, **about))
        found = [score for score in scores.values() if score is not None]
        return sum(found) / len(found) if found else None

    @cached_property
    def text_config(self) -> Any:
        """Return transformers' config of the model's text decoder."""
        return load_config(self.evaluation.spec)[1].get_text_config()

    @cached_property
    def cells(self) -> list[Method]:
        """Return the job's methods, layers resolved against the model's number of layers."""
        number = self.text_config.num_hidden_layers
        cells = self.evaluation.cells
        if self.evaluation.all_layers:
            cells = [replace(c, layer=at) for at in (*range(number), -1) for c in cells]
        for cell in cells:
            list_layers(cell, None, number)  # raises an error for a layer without effect
        return [replace(c, layer=resolve_layer(c.layer, number)) for c in cells]

    @cached_property
    def columns(self) -> list[tuple[Method, Post]]:
        """Return what is scored: each cell under each post, which share the cell's vectors."""
        return [(cell, post) for cell in self.cells for post in self.evaluation.posts]

    def find_cell(self, column: int) -> int:
        """Return which of the cells a column is of."""
        return column // len(self.evaluation.posts)

    @property
    def brief(self) -> bool:
        """Whether scores are logged in one line: in a sweep, of one cell and few tasks."""
        number = len(self.tasks.names) + len(self.tasks.own)
        return self.swept and len(self.columns) == 1 and 0 < number <= summary.COLUMNS

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Return the backbone's identity, for which its weights are not loaded."""
        return identify_backbone(self.evaluation.spec)

    @cached_property
    def records(self) -> list[Record]:
        """Return one record a column."""
        variants = (self.describe_variant(*column) for column in self.columns)
        return [Record(self.runs, variant.model_meta) for variant in variants]

    @cached_property
    def backbone(self) -> Backbone:
        """Return the model, loaded when first asked for."""
        return load_backbone(self.evaluation.spec)

    @cached_property
    def shared(self) -> Embedder:
        """Return the embedder that all cells share."""
        self.backbone.require_attention(self.cells[0].attention)
        return Embedder(self.backbone, self.cells, open_store(**self.cache))

    def _score_task(self, task: Any) -> list[str]:
        """Evaluate one task in every cell that lacks it; return what failed, by name."""
        name = task.metadata.name  # `load_data` renames a task with other data than mteb's
        try:
            data = load_data(task)
        except ValueError as error:
            log.error("%s", error)
            for record in self.records:
                entry = entries.make_entry(task, "failed", {}, error=str(error))
                record.write_entry_unless_scored(name, entry)
            return [name]
        failed = []
        for index, record in enumerate(self.records):
            todo = scoring.find_missing(task, self.columns[index][0], record, data)
            self._report_engines(todo.reused)
            failed += self._score_cell(todo, index)
        unload_data(task)
        return failed

    def _score_cell(self, todo: scoring.Todo, index: int) -> list[str]:
        """Score what a column lacks of a task; return what failed, by name."""
        if not todo.new:
            scoring.complete_entry(todo)
            return []
        cell, post = self.columns[index]
        shared = self.shared  # a model that cannot load ends the job

        def make_encoder(recorder: EmbeddingRecorder) -> Encoder:
            return Encoder(
                self.backbone,
                cell,
                instructions=self.evaluation.instructions,
                variant=self.describe_variant(cell, post),
                shared=shared,
                cell_index=self.find_cell(index),
                recorder=recorder,
                post=post,
            )

        title = f"{self.evaluation.name} {summary.name_column(cell, post)}"
        level = logging.DEBUG if self.brief else logging.INFO
        failure = scoring.score_missing(todo, make_encoder, title=title, level=level)
        return [failure] if failure else []

    def _report_engines(self, reused: Iterable[PartRecord]) -> None:
        """Log, once a job, that scores of another version of the engine are not recomputed."""
        if not self._engines_reported and any(stamp.engine != digest_engine() for stamp in reused):
            self._engines_reported = True
            log.info(
                "scores made by another version of the engine are not recomputed (records name the "
                "version); to recompute them delete their folder under %s, or use runs=DIR",
                self.runs / "results",
            )

    def describe_variant(self, cell: Method, post: Post) -> Variant:
        """Return how mteb's results name a column."""
        return describe_variant(
            cell,
            method=self.evaluation.name,
            identity=self.identity,
            instructions=self.evaluation.instructions,
            adapters=self.evaluation.spec.adapters,
            post=post,
        )

    def _make_header(self, cell: Method, post: Post = NO_POST) -> CellRecord:
        """Return the record of a column, without its tasks."""
        spec = self.evaluation.spec
        path = getattr(spec.source, "path", None)
        return CellRecord(
            model=spec.name,
            revision=self.identity["weights"],
            adapters=make_portable(list(spec.adapters)),
            training=[summarize_training(adapter) for adapter in stack_adapters(spec.adapters)],
            trained_as=find_differences(cell, list_trained_folders(spec.adapters, path)),
            method=self.evaluation.name,
            options=list_options(cell),
            default={axis: getattr(type(cell), axis) for axis in AXES},
            attention=cell.attention,
            pooling=cell.pooling,
            layer=cell.layer,
            dtype=self.identity["dtype"],
            instructions=self.evaluation.instructions.source if cell.uses_instructions else None,
            digest=self.describe_variant(cell, post).experiment["digest"],
            post=post.describe() if post.steps else None,
            chosen=None if self.chosen is None else dict(self.chosen),
            method_config=describe_method(cell),
            backbone=self.identity,
            reports=[self.config["report"]] if self.config.get("report") else [],
            command=format_command(self.verb, self.overrides, self.config_dir),
            config_dir=make_portable(self.config_dir),
            config=make_portable(dict(self.config)),
            **describe_environment(),
        )


def list_options(cell: Method) -> dict[str, Any]:
    """Return the fields that differ from the method's own defaults, axes aside."""
    defaults = {f.name: f.default for f in dataclasses.fields(cell)}
    return {
        name: value
        for name, value in describe_method(cell).items()
        if name not in (*AXES, "class") and value != defaults[name]
    }
