"""Find the scores that runs recorded of a method on a model, for the README of its export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from methods.backbone.loader import BackboneSpec, identify_backbone
from methods.base import Method
from methods.encoding.instructions import Instructions
from methods.encoding.mteb_interface import describe_variant
from methods.records import read_json


@dataclass(frozen=True)
class Score:
    """One recorded score, x 100: of a split and subset of a task, and how it was computed."""

    task: str
    split: str
    subset: str
    metric: str
    value: float
    dtype: str
    commit: str | None
    date: str | None


def find_scores(
    records: Sequence[str],
    cell: Method,
    *,
    name: str,
    spec: BackboneSpec,
    about: Instructions,
) -> list[Score]:
    """Return the scores of this method, model and adapters, whatever dtype they were computed in.

    cell: the method, its layer resolved. Raises ValueError for a folder without records.
    """
    digests: dict[str, str] = {}
    found = []
    for folder in records:
        files = sorted(Path(folder).rglob("record/run.json"))
        if not files:
            raise ValueError(
                f"records={folder} holds no records (**/record/run.json); give a folder that "
                f"dec2vec evaluate wrote, runs for instance"
            )
        for file in files:
            record = read_json(file)
            dtype = str(record.get("dtype"))
            if dtype not in digests:
                identity = {**identify_backbone(spec), "dtype": dtype}
                variant = describe_variant(cell, method=name, identity=identity, instructions=about)
                digests[dtype] = variant.experiment["digest"]
            if record.get("digest") == digests[dtype]:
                found += _read_scores(file.parent.parent, record)
    unique = {(s.task, s.split, s.subset, s.dtype): s for s in found}
    return sorted(unique.values(), key=lambda s: (s.task, s.split, s.subset, s.dtype))


def _read_scores(cell: Path, record: dict[str, Any]) -> Iterator[Score]:
    for task, entry in record.get("tasks", {}).items():
        result = cell / f"{task}.json"
        if entry.get("status") != "done" or not result.is_file():
            continue
        for split, scores in read_json(result)["scores"].items():
            for one in scores:
                if split in entry["splits"] and one["hf_subset"] in entry["subsets"]:
                    yield Score(
                        task,
                        split,
                        one["hf_subset"],
                        entry.get("main_score") or "main_score",
                        100 * one["main_score"],
                        str(record.get("dtype")),
                        entry.get("commit"),
                        entry.get("date"),
                    )
