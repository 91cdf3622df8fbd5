"""Load mteb tasks: by name from the Hub, a local mirror or the built-in demo tasks, or the user's.

A mirror is a folder with one folder a dataset, named as on the Hub (`mteb/stsbenchmark-sts` or just
`stsbenchmark-sts`), each with the files and the README.md header that `datasets` loads. What a
mirror lacks is reported as missing; it is never fetched elsewhere and never silently left out
(mirrors.py). Data that are not mteb's are scored under another name (own_data.py). Tasks on the
user's own files are read and checked here, before a model is loaded (own_tasks/).
"""

from __future__ import annotations

import copy
import difflib
import logging
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from methods.config.settings import TaskList
from methods.data.readers import KINDS
from methods.evaluation.mirrors import redirect
from methods.evaluation.mteb_internals import list_parts, list_task_names, set_parts
from methods.evaluation.own_tasks.make import get_own_name, make_own_tasks

log = logging.getLogger(__name__)


def load_tasks(wanted: TaskList) -> tuple[list[Any], dict[str, str]]:
    """Return the tasks that can run, and why the others cannot: {name: reason}.

    Raises ValueError for names that do not exist and a mirror that is no folder.
    """
    tasks = [_make_independent(_get_task(name)) for name in wanted.names]
    if not tasks and (wanted.benchmark or not wanted.own):
        tasks = _get_benchmark(wanted.benchmark)
    tasks += [_make_independent(task) for task in make_own_tasks(wanted.own)]
    names = [name for task in tasks for name in _list_names(task)]
    for option in ("splits", "subsets"):
        if unknown := set(getattr(wanted, option)) - set(names):
            raise ValueError(
                f"tasks.{option} names {', '.join(sorted(unknown))}, which is not among the tasks: "
                f"{', '.join(names)}"
            )
    for task in tasks:
        _narrow(task, wanted)
    if wanted.mirror is None:
        return tasks, {}
    mirror = Path(wanted.mirror).expanduser()
    if not mirror.is_dir():
        raise ValueError(f"mirror={wanted.mirror} is no folder; give the folder of datasets")
    missing = {
        task.metadata.name: reason
        for task in tasks
        if (reason := redirect(task, mirror)) and not hasattr(task, "own")
    }
    for task in tasks:
        for part in getattr(task, "missing_parts", []):
            log.warning("missing: %s: %s", task.metadata.name, part)
    for name, reason in missing.items():
        log.warning("missing: %s: %s", name, reason)
    return [task for task in tasks if task.metadata.name not in missing], missing


def explain_missing(missing: Mapping[str, str], *, names: str = "tasks.names") -> str:
    """Return the error for a job none of whose tasks can be scored. names: the verb's own key."""
    reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
    return (
        f"nothing can be scored, since no task's data are there: {reasons}. Add the data to the "
        f"mirror, name other tasks ({names}=[...]), or leave mirror out to read the Hub."
    )


def list_scored_splits(task: Any, scored: Iterable[str] | None = None) -> list[str]:
    """Return the splits that a task's one score is the mean over.

    For a benchmark its own; for a task asked for by name the test split and, where it has none,
    all. scored: the splits that have scores, where they are not the task's own.
    """
    splits = list(task.eval_splits if scored is None else scored)
    benchmark = [split for split in getattr(task, "benchmark_splits", []) if split in splits]
    return benchmark or (["test"] if "test" in splits else splits)


def _make_independent(task: Any) -> Any:
    """Make a task independent of mteb's own objects, its parts too, and without its warnings."""
    parts = getattr(task.metadata, "tasks", None)
    if parts:
        set_parts(task, [_make_independent(copy.deepcopy(part)) for part in parts])
    if newer := task.metadata.superseded_by:  # mteb says so twice for every evaluation
        _log_superseded(task.metadata.name, newer)
        task.metadata = task.metadata.model_copy(update={"superseded_by": None})
    return task


@cache
def _log_superseded(name: str, newer: str) -> None:
    log.warning("%s is superseded by %s in mteb; benchmarks may still ask for it", name, newer)


def _get_task(name: str) -> Any:
    import mteb

    from methods.evaluation.demo_small import SMALL_TASKS
    from methods.evaluation.demo_tasks import DEMO_TASKS
    from methods.evaluation.position_tasks import POSITION_TASKS

    demo = {**SMALL_TASKS, **DEMO_TASKS}
    if name in (own := {**demo, **POSITION_TASKS}):
        return own[name]()
    if name not in (known := list_task_names()):
        if "/" in name or Path(name).suffix.lower().lstrip(".") in KINDS:
            raise ValueError(f"{name!r} is no task; your own data are tasks.own=[{name}]")
        lower = {one.lower(): one for one in [*known, *own]}
        several = [lower.get(part.lower()) for part in re.split(r"[\s,;]+", name.strip())]
        if len(several) > 1 and all(several):
            names = ",".join(filter(None, several))
            raise ValueError(f"{name!r} is no task; give several as a list: tasks.names=[{names}]")
        close = [lower[one] for one in difflib.get_close_matches(name.lower(), lower, n=3)]
        raise ValueError(
            f"task {name!r} is unknown; "
            f"{'did you mean ' + ' or '.join(close) + '?' if close else 'see mteb.get_tasks().'} "
            f"The demo tasks are {', '.join(demo)}."
        )
    with warnings.catch_warnings():  # mteb logs the same sentences
        warnings.filterwarnings("ignore", message="The task .* is currently in beta")
        return mteb.get_task(name)


def _get_benchmark(name: str | None) -> list[Any]:
    import mteb

    if name is None:
        raise ValueError(
            "no tasks: give tasks.names=[...], tasks.benchmark=NAME or tasks.own=[PATH,...]"
        )
    try:
        tasks = [_make_independent(copy.deepcopy(task)) for task in mteb.get_benchmark(name).tasks]
    except KeyError as error:
        known = [benchmark.name for benchmark in mteb.get_benchmarks()]
        close = difflib.get_close_matches(name, known, n=3) or sorted(known)[:10]
        raise ValueError(f"benchmark {name!r} is unknown; close are: {', '.join(close)}") from error
    for task in tasks:
        task.benchmark_splits = list(task.eval_splits)
    return tasks


def _list_names(task: Any) -> list[str]:
    """Return the names a task is asked for by: of a user's own, without and with its digest."""
    return list(dict.fromkeys([get_own_name(task), task.metadata.name]))


def _narrow(task: Any, wanted: TaskList) -> None:
    """Limit a task to the splits and subsets asked for."""
    for name in _list_names(task):
        if name in wanted.subsets:
            _narrow_subsets(task, wanted.subsets[name])
        if name in wanted.splits:
            _narrow_splits(task, wanted.splits[name])


def _narrow_subsets(task: Any, subsets: Sequence[str]) -> None:
    known = list(task.metadata.hf_subsets)
    if unknown := set(subsets) - set(known):
        raise ValueError(
            f"{task.metadata.name} has no subset {', '.join(sorted(unknown))}; valid: "
            f"{', '.join(known)}"
        )
    task.filter_languages(None, hf_subsets=list(subsets))


def _narrow_splits(task: Any, splits: Sequence[str]) -> None:
    if (own := getattr(task, "own_splits", None)) is not None:
        if unknown := set(splits) - set(own):
            raise ValueError(
                f"{task.metadata.name} has no split {', '.join(sorted(unknown))} to score; it has "
                f"{', '.join(own)}"
            )
    described = task.metadata.descriptive_stats or {}
    known = sorted(map(str, {*task.metadata.eval_splits, *described}))
    usual = {"train", "validation", "dev", "test", *known}
    if unknown := set(splits) - usual:
        raise ValueError(
            f"{task.metadata.name} has no split {', '.join(sorted(unknown))}; mteb evaluates it on "
            f"{', '.join(known)}"
        )
    for part in list_parts(task):
        part.filter_eval_splits(list(splits))
    if list_parts(task) != [task]:  # its score is over the splits that its metadata name
        update = {"eval_splits": list(splits)}
        task.metadata = task.metadata.model_copy(update=update)
