"""Verify that a mirror's data are mteb's, by the statistics that mteb ships for nearly every task.

Rows, texts, characters, labels and human scores of what is evaluated are counted here and compared.
Data that differ are a user's own: their task is scored under another name, so that no table shows
its score as mteb's. Differences that the statistics do not cover (two texts swapped between rows)
are not found.

Only what every version of mteb counts alike is compared (data_counts.py). Demo tasks, and data from
the Hub, which are pinned to a revision, are never renamed.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from methods.evaluation.data_counts import count_data, iterate_scored_data
from methods.evaluation.mteb_internals import index_parts, list_parts

log = logging.getLogger(__name__)

SHOWN = 4  # differences that a message lists
LABELS = ("label_statistics", "labels_statistics")
SCORES = ("label_statistics", "score_statistics", "values_statistics")


def name_own_data(task: Any) -> None:
    """Rename a loaded task whose mirror holds other data than mteb's, and log what differs.

    The task gets `derived_from` (the name it had), `data_differences` and `unverified` (sentences).
    """
    for part in list_parts(task):
        if getattr(part, "mirrored", None) is None or getattr(part, "derived_from", None):
            continue
        part.data_differences, part.unverified = compare_statistics(part)
        if part.data_differences:
            _rename(part, _digest_content(part.mirrored))
        elif part.unverified:
            log.warning(
                "%s: that the data in %s are mteb's could not be verified: %s",
                *(part.metadata.name, part.mirrored, "; ".join(part.unverified[:SHOWN])),
            )
    parts = list_parts(task)
    own = [part for part in parts if getattr(part, "derived_from", None)]
    if parts != [task]:
        task.unverified = [line for part in parts for line in getattr(part, "unverified", [])]
        if own and not getattr(task, "derived_from", None):
            task.data_differences = [line for part in own for line in part.data_differences]
            names = " ".join(part.metadata.name for part in own)
            _rename(task, hashlib.sha256(names.encode()).hexdigest()[:8])
            index_parts(task, parts)


def describe_data(task: Any) -> dict[str, Any]:
    """Return what a task's record states of its data; nothing for the Hub's.

    derived_from: the task whose name own data would have had. verified: whether all that is scored
    equals mteb's statistics. own: of a task on the user's own files, what was given and found.
    """
    if own := getattr(task, "own", None):
        return {"own": own}
    differences = getattr(task, "data_differences", None)
    unverified = getattr(task, "unverified", None)
    if differences is None and unverified is None:
        return {}
    notes: dict[str, Any] = {"verified": not differences and not unverified}
    if origin := getattr(task, "derived_from", None):
        notes["derived_from"] = origin
    return notes


def compare_statistics(task: Any) -> tuple[list[str], list[str]]:
    """Return what differs from mteb's statistics and what they do not cover, as sentences."""
    shipped = task.metadata.descriptive_stats
    if not shipped:
        return [], [f"mteb ships no statistics of {task.metadata.name}"]
    differences, unverified = [], []
    for split, subset, data in iterate_scored_data(task):
        place = f"{split} ({subset})" if task.metadata.is_multilingual else split
        theirs = shipped.get(split) or {}
        if task.metadata.is_multilingual:
            theirs = theirs.get("hf_subset_descriptive_stats", {}).get(subset) or {}
        found = list(_compare(task, data, subset, theirs)) if theirs else []
        if not found:
            unverified.append(f"mteb's statistics do not cover {place}")
        differences += [
            f"{place} has {_format_number(here)} {what} (mteb's: {_format_number(there)})"
            for what, here, there in found
            if not math.isclose(here, there, rel_tol=1e-6, abs_tol=1e-6)
        ]
    return differences, unverified


def _compare(
    task: Any, data: Any, subset: str, theirs: Mapping[str, Any]
) -> Iterator[tuple[str, float, float]]:
    """Yield (what, count here, count in mteb's statistics) for all that both count."""
    counts = count_data(task, data, subset)
    labels, scores = counts.labels, counts.scores
    for name, tally in counts.texts.items():
        known = theirs.get(f"{name}_statistics")
        if not known:
            continue
        if average := known["average_text_length"]:
            number = round(known["total_text_length"] / average)
            yield f"texts in {name}", tally.number, number
        if tally.number:
            yield f"characters in {name}", tally.characters, known["total_text_length"]
            yield f"different texts in {name}", len(tally.different), known["unique_texts"]
            yield f"characters in the shortest of {name}", tally.shortest, known["min_text_length"]
            yield f"characters in the longest of {name}", tally.longest, known["max_text_length"]
    for name in LABELS:
        if labels and (known := (theirs.get(name) or {}).get("labels")):
            here = sorted(labels.values())
            there = sorted(label["count"] for label in known.values())
            yield "labels", len(here), len(there)
            if len(here) == len(there):
                rows = zip(here, there, strict=True)
                changed = next((pair for pair in rows if pair[0] != pair[1]), None)
                yield ("rows of a label", *(changed or (here[-1], there[-1])))
    for name in SCORES:
        known = theirs.get(name) or {}
        if scores and "avg_score" in known:
            yield "as mean human score", sum(scores) / len(scores), known["avg_score"]
            yield "as lowest human score", min(scores), known["min_score"]
            yield "as highest human score", max(scores), known["max_score"]
    for (group, name), number in counts.judgements.items():
        known = (theirs.get(group) or {}).get(name)
        if known is not None:
            yield name.removeprefix("num_").replace("_", " "), number, known


def _rename(task: Any, digest: str) -> None:
    name = task.metadata.name
    task.derived_from = name
    revision = f"own-{digest}"
    task.metadata = task.metadata.model_copy(
        update={
            "name": f"{name}-own-{digest}",
            "dataset": {**task.metadata.dataset, "revision": revision},
        }
    )
    more = len(task.data_differences) - SHOWN
    log.warning(
        "%s: the data in %s are not mteb's: %s%s. They are scored as %s, never shown as %s.",
        *(name, getattr(task, "mirrored", "its parts"), "; ".join(task.data_differences[:SHOWN])),
        *(f" and {more} more" if more > 0 else "", task.metadata.name, name),
    )


def _digest_content(folder: Path) -> str:
    """Return eight hex digits of a dataset's files: the same on every machine, for every split."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        place = file.relative_to(folder)
        if file.is_file() and not any(part.startswith(".") for part in place.parts):
            digest.update(f"{place.as_posix()}\0".encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:8]


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4f}"
