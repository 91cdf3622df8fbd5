"""Read tasks from a local mirror, limited to the splits and subsets that it holds.

A task is evaluated on each of its splits in each of its subsets, so these remain: the subsets that
the mirror has, and the splits that all of them have.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from methods.evaluation.mteb_internals import (
    find_train_split,
    holds_subsets_together,
    list_parts,
)
from methods.folders import find_cache_folder


def redirect(task: Any, mirror: Path) -> str | None:
    """Point a task at its folder in the mirror; return why it cannot run, or None.

    `task.missing_parts` names the splits and subsets that the mirror lacks, `task.mirrored` the
    folder, and `task.held_splits` the splits that it has. The task gets a copy of its
    class's metadata, which are not changed.
    """
    parts = list_parts(task)
    if parts != [task]:
        reasons = [reason for part in parts if (reason := redirect(part, mirror))]
        task.missing_parts = [
            f"{part.metadata.name}: {lost}"
            for part in parts
            for lost in getattr(part, "missing_parts", [])
        ]
        return f"{len(reasons)} of its {len(parts)} parts: {reasons[0]}" if reasons else None
    path = task.metadata.dataset["path"]
    if path.startswith("dec2vec/"):
        return None
    folder = next((d for d in (mirror / path, mirror / Path(path).name) if d.is_dir()), None)
    if folder is None:
        return f"{path} is not in the mirror {mirror}"
    try:
        splits_of = _list_splits(task, folder)
    except (ValueError, OSError) as error:  # no data files, a broken header
        return f"{folder} cannot be read as a dataset: {type(error).__name__}: {error}"
    if not any(splits_of.values()):
        named = task.metadata.dataset.get("name")
        subsets = [named] if named else task.hf_subsets
        has = ", ".join(_list_configurations(folder))
        return f"{folder} has no subset {', '.join(subsets)}, only {has}"
    return _limit_task(task, splits_of, folder)


def _limit_task(task: Any, splits_of: Mapping[str, list[str]], folder: Path) -> str | None:
    lost = [f"subset {subset}" for subset, splits in splits_of.items() if not splits]
    held = {subset: splits for subset, splits in splits_of.items() if splits}
    anywhere = list(dict.fromkeys(split for splits in held.values() for split in splits))
    wanted = [split for split in task.eval_splits if split in anywhere]
    if not wanted:
        return f"{folder} has no split {', '.join(task.eval_splits)}, only {', '.join(anywhere)}"
    kept = [split for split in wanted if all(split in splits for splits in held.values())]
    if not kept:  # no split is in every subset: the first, in the subsets that have it
        kept = wanted[:1]
        lost += [f"subset {s} (no split {kept[0]})" for s in held if kept[0] not in held[s]]
        held = {subset: splits for subset, splits in held.items() if kept[0] in splits}
    if (train := find_train_split(task)) and any(train not in own for own in held.values()):
        without = [subset for subset, splits in held.items() if train not in splits]
        where = f" in subset {', '.join(without)}" if task.metadata.is_multilingual else ""
        return f"{folder} has no split {train}{where}, which the task trains its classifier on"
    for split in task.eval_splits:
        if split not in kept:
            short = [subset for subset, splits in held.items() if split not in splits]
            some = split in wanted and task.metadata.is_multilingual
            lost.append(f"split {split}" + (f" (not in {', '.join(short)})" if some else ""))
    if lost:
        task.missing_parts = lost
        task.filter_eval_splits(kept)
    if task.metadata.is_multilingual:
        task.hf_subsets = list(held)
    task.metadata = task.metadata.model_copy(deep=True)  # the class's own would change for everyone
    task.metadata.dataset["path"] = str(_link_by_content(folder))
    common = [split for split in anywhere if all(split in own for own in held.values())]
    task.mirrored, task.held_splits = folder, common
    return None


@contextmanager
def limit_metadata(task: Any) -> Iterator[None]:
    """Let a task's metadata name the splits and subsets that are there, for this block.

    Many tasks prepare every split that their metadata name: with a mirror that lacks one they end
    in a KeyError, and a split that the user chose and the metadata do not name is not prepared.
    """
    metadata, own = task.metadata, vars(task).get("metadata")
    held = getattr(task, "held_splits", None)
    splits = [split for split in metadata.eval_splits if held is None or split in held]
    splits += [split for split in task.eval_splits if split not in splits]
    update: dict[str, Any] = {"eval_splits": splits}
    if held is not None and isinstance(metadata.eval_langs, Mapping):
        update["eval_langs"] = {s: metadata.eval_langs[s] for s in task.hf_subsets}
    task.metadata = metadata.model_copy(update=update)
    try:
        yield
    finally:
        if own is None:
            del task.metadata
        else:
            task.metadata = own


def explain_key_error(task: Any, error: Exception) -> str:
    """Return what to add to a KeyError of mteb's preparation, where it is about a missing split."""
    held = getattr(task, "held_splits", None)
    name = error.args[0] if isinstance(error, KeyError) and error.args else None
    if held is None or not isinstance(name, str) or name in held:
        return ""
    return (
        f". mteb's preparation of this task reads {name!r}, which the mirror lacks; it has "
        f"{', '.join(held)}. Add it to {task.mirrored}, or leave the task out"
    )


def _list_splits(task: Any, folder: Path) -> dict[str, list[str]]:
    """Return the splits that the mirror has of each of a task's subsets; none if it lacks it."""
    from datasets import get_dataset_split_names

    configs = _list_configurations(folder)
    if not task.metadata.is_multilingual:
        named = task.metadata.dataset.get("name")
        standard = next((c for c in ("default", "qrels") if c in configs), configs[0])
        config = named or standard
        splits = get_dataset_split_names(str(folder), config) if config in configs else []
        return dict.fromkeys(task.hf_subsets, splits)
    found = {}
    for subset in task.hf_subsets:  # retrieval has three for a subset: corpus, queries, qrels
        config = next((c for c in (subset, f"{subset}-qrels") if c in configs), None)
        found[subset] = get_dataset_split_names(str(folder), config) if config else []
    if (
        holds_subsets_together(task) and not any(found.values()) and "default" in configs
    ):  # all subsets in one
        return dict.fromkeys(found, get_dataset_split_names(str(folder), "default"))
    return found


def _list_configurations(folder: Path) -> list[str]:
    from datasets import get_dataset_config_names

    return get_dataset_config_names(str(folder))


def _link_by_content(folder: Path) -> Path:
    """Return a link to a dataset folder whose name changes when a file in it does.

    `datasets` caches rows under the folder's last name and the revision alone, and would return one
    mirror's rows for another's.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    seen = [(str(f.relative_to(folder)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    digest = hashlib.sha256(json.dumps([str(folder.resolve()), seen]).encode()).hexdigest()[:12]
    link = find_cache_folder() / "mirrors" / f"{folder.name}-{digest}"
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        aside = link.with_name(f".{link.name}-{os.getpid()}")
        aside.symlink_to(folder.resolve())
        aside.replace(link)
    return link
