"""Score one cell on one task with mteb, and write the outcome into the cell's record."""

from __future__ import annotations

import logging
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import mteb
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning

from methods.backbone.hardware import reset_peak_memory
from methods.base import Method
from methods.encoding.call import Usage
from methods.encoding.encoder import Encoder
from methods.evaluation import entries, geometry, per_example, summary
from methods.evaluation.records import Part, Record
from methods.evaluation.task_data import DataDigest
from methods.records import PartRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Todo:
    """What a cell lacks of a task, part by part (split and subset).

    new: stamps of the parts to score. stale: those of them that have a score of other data or code.
    kept: stamps of scores that stay; reused: the requested ones of them. before: the entry.
    """

    task: Any
    record: Record
    new: Mapping[Part, PartRecord]
    stale: list[Part]
    kept: Mapping[Part, PartRecord]
    reused: list[PartRecord]
    before: Mapping[str, Any]

    @property
    def requested(self) -> dict[Part, PartRecord]:
        """Return the stamps of all parts that will have a score."""
        return {**self.kept, **self.new}


def find_missing(task: Any, cell: Method, record: Record, data: DataDigest) -> Todo:
    """Compare a cell's scores of a task with what they would be made from now."""
    stamps = entries.stamp_parts(task, cell, data)
    before = record.read_entry(task.metadata.name)
    scored = record.read_stamps(task.metadata.name, before)
    new = [part for part in stamps if not entries.is_same_score(scored.get(part), stamps[part])]
    stale = [part for part in new if part in scored]
    kept = {part: stamp for part, stamp in scored.items() if part not in stale}
    reused = [kept[part] for part in stamps if part in kept]
    return Todo(task, record, {part: stamps[part] for part in new}, stale, kept, reused, before)


def complete_entry(todo: Todo) -> None:
    """Mark a task as done if all its parts have a score but its entry says otherwise."""
    if todo.before["status"] != "done":  # another part of it failed or was stopped
        lost = entries.explain_lost_examples(todo.task, todo.record, todo.kept)
        entry = entries.make_entry(todo.task, "done", todo.kept, before=todo.before, **lost)
        todo.record.write_entry(todo.task.metadata.name, entry)


def score_missing(
    todo: Todo,
    make_encoder: Callable[[geometry.EmbeddingRecorder], Encoder],
    *,
    title: str,
    level: int,
) -> str | None:
    """Score a task's missing parts and record them; return the failure, or None.

    title: of the cell, in the log. level: at which its score is logged.
    """
    task, record, name = todo.task, todo.record, todo.task.metadata.name
    record.drop_scores(name, todo.stale)
    running = entries.make_entry(task, "running", todo.requested, before=todo.before)
    record.write_entry(name, running)
    start = time.perf_counter()
    recorder = geometry.make_recorder(task)
    with tempfile.TemporaryDirectory(prefix="dec2vec-") as folder:
        try:
            encoder = make_encoder(recorder)
            encoder.shared.usage = Usage()
            reset_peak_memory(encoder.backbone.choices["device"])
            result = _evaluate(encoder, task, record, Path(folder))
            seconds = time.perf_counter() - start
            cost = entries.measure_costs(encoder.backbone, encoder.shared.usage, seconds)
            device = encoder.backbone.choices["device"]
            details = _collect_details(task, record, recorder, Path(folder), result, device)
            entries.add_earlier(todo.before if todo.kept else {}, cost, details)
            if details["examples"]:
                details |= entries.explain_lost_examples(task, record, todo.requested)
        except Exception as error:  # recorded and reported; the other tasks run
            return _record_failure(todo, error, title)
    record.write_entry(name, entries.make_entry(task, "done", todo.requested, **cost, **details))
    score = 100 * (summary.compute_main_score(result, task) or 0)
    log.log(level, "%s %s, %s: %.2f", title, name, summary.format_splits(task), score)
    return None


def _evaluate(encoder: Encoder, task: Any, record: Record, predictions: Path) -> Any:
    """Return mteb's result of a task, whose scores it stores beside the record."""
    result = mteb.evaluate(
        encoder,  # pyright: ignore[reportArgumentType]  (its protocol includes __init__)
        task,
        cache=record.cache,
        overwrite_strategy="only-missing",
        co2_tracker=False,
        encode_kwargs={"batch_size": 1024, "show_progress_bar": False},
        prediction_folder=predictions,
        show_progress_bar=False,
    )
    return result.task_results[0]


def _record_failure(todo: Todo, error: Exception, title: str) -> str:
    """Write a failure into the record and the log; return it in a line."""
    name, message = todo.task.metadata.name, f"{type(error).__name__}: {error}"
    # A full disk is no fault of the code, so its message is enough.
    shown = message if isinstance(error, OSError) else f"\n{traceback.format_exc()}"
    log.error("%s failed on %s: %s", title, name, shown)
    entry = entries.make_entry(
        todo.task, "failed", todo.requested, before=todo.before, error=message
    )
    todo.record.write_entry(name, entry)
    return f"{name} ({message.splitlines()[0][:200]})"


def _collect_details(
    task: Any,
    record: Record,
    recorder: geometry.EmbeddingRecorder,
    folder: Path,
    result: Any,
    device: str,
) -> dict[str, Any]:
    """Return what is recorded beyond the score: examples, geometry, and what each lacks."""
    faults: list[str] = []
    measured = geometry.measure_geometry(task, recorder, device=device, faults=faults)
    details: dict[str, Any] = {"geometry": measured, "examples": None}
    try:
        found = per_example.collect_or_raise(task, folder, result)
        details["examples"] = found and record.write_examples(task.metadata.name, found)
    except per_example.CannotStore as error:  # the score is valid without them
        log.warning("%s", error)
        details["examples_error"] = str(error)
    for fault in faults:
        log.warning("no geometry of %s", fault)
    return details | ({"geometry_error": "; ".join(faults)} if faults else {})


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hide, for this block, progress bars and warnings of libraries that mteb uses."""
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            # mteb ends logistic regressions after 100 rounds, and some predict none of a class.
            for category in (ConvergenceWarning, UndefinedMetricWarning):
                warnings.filterwarnings("ignore", category=category)
            yield
    finally:
        if shown:
            datasets.enable_progress_bars()
