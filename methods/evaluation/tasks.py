"""Names -> mteb tasks: from the Hub, from a local mirror, or the built-in demo tasks.

A mirror is a folder with one folder a dataset, named as on the Hub (`mteb/stsbenchmark-sts` or just
`stsbenchmark-sts`), each with the files and the README.md header that `datasets` loads. What a
mirror lacks is named and reported as missing; it is never fetched elsewhere and never silently
left out.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from methods.folders import cache_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TaskList:
    """What a tasks YAML says.

    names: task names. benchmark: an mteb benchmark, when there are no names.
    splits, subsets: task name -> those to evaluate, where not the task's own.
    mirror: a folder to read datasets from instead of the Hub.
    """

    names: Sequence[str] = ()
    benchmark: str | None = None
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subsets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    mirror: str | None = None


def load_tasks(wanted: TaskList) -> tuple[list[Any], dict[str, str]]:
    """The tasks that can run, and why the others cannot: {name: reason}.

    Raises ValueError for names that do not exist and a mirror that is no folder.
    """
    tasks = [_task(name) for name in wanted.names] or _benchmark(wanted.benchmark)
    names = [task.metadata.name for task in tasks]
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
        raise ValueError(f"tasks.mirror={wanted.mirror} is no folder; give the folder of datasets")
    missing = {task.metadata.name: reason for task in tasks if (reason := _redirect(task, mirror))}
    for task in tasks:
        for part in getattr(task, "missing_parts", []):
            log.warning("missing: %s: %s", task.metadata.name, part)
    for name, reason in missing.items():
        log.warning("missing: %s: %s", name, reason)
    return [task for task in tasks if task.metadata.name not in missing], missing


@dataclass(frozen=True)
class DataDigest:
    """What a task is evaluated on: a digest of all of it, and (split, subset) -> of that part.

    A classifier's part is its split and what it is trained on. A task asked for in one part only
    has one digest.
    """

    whole: str
    parts: Mapping[tuple[str, str], str]


def load_data(task: Any) -> DataDigest:
    """Load a task's data and return the digests of everything that is evaluated.

    Raises ValueError, naming the task, for data that cannot be read or has other columns.
    """
    whole, parts = hashlib.sha256(), {}
    members = _parts(task)
    for part in members:
        try:
            part.load_data()
        except Exception as error:  # every failure to read becomes one that says what was read
            raise ValueError(
                f"the data of {part.metadata.name} cannot be read from "
                f"{part.metadata.dataset['path']}: {type(error).__name__}: {error}"
            ) from error
        _check_columns(part)
        for where, piece in _pieces(part):
            text = json.dumps(piece, sort_keys=True, default=str).encode()
            whole.update(text)
            for place in where:
                parts.setdefault(place, hashlib.sha256()).update(text)
    digest = whole.hexdigest()[:16]
    if members != [task]:  # an aggregate's score is made of all its parts
        return DataDigest(digest, {p: digest for p in asked_parts(task)})
    return DataDigest(digest, {place: part.hexdigest()[:16] for place, part in parts.items()})


def asked_parts(task: Any) -> list[tuple[str, str]]:
    """Return the splits and subsets that a task is asked for, in order."""
    return [(split, subset) for split in task.eval_splits for subset in task.hf_subsets]


def unload_data(task: Any) -> None:
    """Free what `load_data` loaded."""
    for part in _parts(task):
        part.unload_data()


def _task(name: str) -> Any:
    import mteb
    from mteb.get_tasks import _TASKS_REGISTRY

    from methods.evaluation.demo_tasks import DEMO_TASKS

    if name in DEMO_TASKS:
        return DEMO_TASKS[name]()
    if name not in _TASKS_REGISTRY:
        close = difflib.get_close_matches(name, [*_TASKS_REGISTRY, *DEMO_TASKS], n=3)
        raise ValueError(
            f"task {name!r} is unknown; "
            f"{'did you mean ' + ' or '.join(close) + '?' if close else 'see mteb.get_tasks().'} "
            f"The demo tasks are {', '.join(DEMO_TASKS)}."
        )
    return mteb.get_task(name)


def _benchmark(name: str | None) -> list[Any]:
    import mteb

    if name is None:
        raise ValueError("no tasks: give tasks.names=[...] or tasks.benchmark=NAME")
    try:
        return list(mteb.get_benchmark(name).tasks)
    except KeyError as error:
        known = [benchmark.name for benchmark in mteb.get_benchmarks()]
        close = difflib.get_close_matches(name, known, n=3) or sorted(known)[:10]
        raise ValueError(f"benchmark {name!r} is unknown; close are: {', '.join(close)}") from error


def _narrow(task: Any, wanted: TaskList) -> None:
    """Keep the splits and subsets asked for."""
    name = task.metadata.name
    if name in wanted.subsets:
        known = list(task.metadata.hf_subsets)
        if unknown := set(wanted.subsets[name]) - set(known):
            raise ValueError(
                f"{name} has no subset {', '.join(sorted(unknown))}; valid: {', '.join(known)}"
            )
        task.filter_languages(None, hf_subsets=list(wanted.subsets[name]))
    if name in wanted.splits:
        described = task.metadata.descriptive_stats or {}
        known = sorted(map(str, {*task.metadata.eval_splits, *described}))
        usual = {"train", "validation", "dev", "test", *known}
        if unknown := set(wanted.splits[name]) - usual:
            raise ValueError(
                f"{name} has no split {', '.join(sorted(unknown))}; mteb evaluates it on "
                f"{', '.join(known)}"
            )
        task.filter_eval_splits(list(wanted.splits[name]))


def _redirect(task: Any, mirror: Path) -> str | None:
    """Point a task at its folder in the mirror, less what the mirror lacks; why it cannot run."""
    from datasets import get_dataset_config_names, get_dataset_split_names

    if len(parts := _parts(task)) > 1:
        reasons = [reason for part in parts if (reason := _redirect(part, mirror))]
        return f"{len(reasons)} of its {len(parts)} parts: {reasons[0]}" if reasons else None
    path = task.metadata.dataset["path"]
    if path.startswith("dec2vec/"):
        return None
    folder = next((d for d in (mirror / path, mirror / Path(path).name) if d.is_dir()), None)
    if folder is None:
        return f"{path} is not in the mirror {mirror}"
    configs = get_dataset_config_names(str(folder))
    if task.metadata.is_multilingual:
        kept = [s for s in task.hf_subsets if s in configs]
        task.missing_parts = [f"subset {s}" for s in task.hf_subsets if s not in configs]
        if not kept:
            return f"{folder} has no subset {', '.join(task.hf_subsets)}, only {', '.join(configs)}"
        task.hf_subsets = kept
    config = task.hf_subsets[0] if task.metadata.is_multilingual else configs[0]
    config = "default" if "default" in configs else config
    splits = get_dataset_split_names(str(folder), config)
    kept = [split for split in task.eval_splits if split in splits]
    if not kept:
        return f"{folder} has no split {', '.join(task.eval_splits)}, only {', '.join(splits)}"
    if lost := [f"split {split}" for split in task.eval_splits if split not in splits]:
        task.missing_parts = [*getattr(task, "missing_parts", []), *lost]
        task.filter_eval_splits(kept)
    task.metadata = task.metadata.model_copy(deep=True)  # the class's own would change for everyone
    task.metadata.dataset["path"] = str(_known_by_content(folder))
    return None


def _known_by_content(folder: Path) -> Path:
    """A link to a dataset folder whose name changes when a file in it does.

    `datasets` keeps what it has read under the folder's last name and the revision alone, and would
    hand out one mirror's rows for another's.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    seen = [(str(f.relative_to(folder)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    digest = hashlib.sha256(json.dumps([str(folder.resolve()), seen]).encode()).hexdigest()[:12]
    link = cache_folder() / "mirrors" / f"{folder.name}-{digest}"
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        aside = link.with_name(f".{link.name}-{os.getpid()}")
        aside.symlink_to(folder.resolve())
        aside.replace(link)
    return link


def _parts(task: Any) -> list[Any]:
    """The tasks an aggregate is made of; a plain task itself."""
    parts = getattr(task.metadata, "tasks", None)
    return [part for task in parts for part in _parts(task)] if parts else [task]


def _check_columns(task: Any) -> None:
    needed = [
        *_names(getattr(task, "column_names", ())),
        *_names(getattr(task, "input_column_name", ())),
        *_names(getattr(task, "input1_column_name", ())),
        *_names(getattr(task, "input2_column_name", ())),
        *_names(getattr(task, "label_column_name", ())),
        *(["score"] if task.metadata.type == "STS" else []),
    ]
    for _, split, data in _splits(task):
        columns = getattr(data, "column_names", None)
        if needed and columns is not None and not set(needed) <= set(columns):
            raise ValueError(
                f"{task.metadata.name}, split {split}: the data in {task.metadata.dataset['path']} "
                f"has columns {', '.join(columns)}; needed: {', '.join(needed)}"
            )


def _names(columns: Any) -> list[str]:
    return [columns] if isinstance(columns, str) else [str(column) for column in columns]


def _splits(task: Any) -> Iterable[tuple[list[tuple[str, str]], Any, Any]]:
    """(parts that depend on it, split, data) of every subset that is evaluated."""
    dataset = task.dataset
    own = {(s,): dataset[s] for s in task.hf_subsets if s in dataset}
    for names, subset in (own or {tuple(task.hf_subsets): dataset}).items():
        for split in task.eval_splits:
            if split not in subset:
                raise ValueError(
                    f"{task.metadata.name} has no split {split}; its data has "
                    f"{', '.join(map(str, subset))}"
                )
            yield [(split, name) for name in names], split, subset[split]
        train = getattr(task, "train_split", None)
        if train in subset:
            yield (
                [(split, name) for split in task.eval_splits for name in names],
                train,
                subset[train],
            )


def _pieces(task: Any) -> Iterable[tuple[list[tuple[str, str]], Any]]:
    """What a task's scores depend on, in JSON's terms, a little at a time, and which parts do."""
    for where, split, data in _splits(task):
        yield where, split
        if hasattr(data, "column_names"):
            yield from ((where, batch) for batch in _batches(data))
        else:  # retrieval: corpus, queries, relevance, candidates
            for part in ("corpus", "queries"):
                yield from ((where, batch) for batch in _batches(data[part]))
            yield where, data["relevant_docs"]
            yield where, data.get("top_ranked")


def _batches(data: Any) -> Iterable[Any]:
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]
