"""What the records state about the runs behind a paper, gathered for its appendix and checklist."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from analysis.labels import KEY, name_row
from analysis.section import Section


@dataclass(frozen=True)
class Training:
    """One adapter: row: of a row that uses it. stated: what the evaluation's record holds of it.
    config: the training's own resolved config, where the record was made by `dec2vec train` and
    this is the adapter that it trained; else empty."""

    name: str
    row: str
    method: str
    stated: Mapping[str, Any]
    config: Mapping[str, Any]

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The hyper-parameters; empty where no record holds them."""
        return self.stated.get("recipe") or self.config.get("recipe") or {}


@dataclass(frozen=True)
class Evidence:
    """The sections of a paper.

    frame: our rows of all sections, named, each cell once. records: by folder, what run.json holds
    beside its tasks.
    """

    sections: Sequence[Section]

    @cached_property
    def frame(self) -> pd.DataFrame:
        frames = [section.comparison.frame for section in self.sections]
        frame = pd.concat(frames, ignore_index=True)
        ours = frame[frame["source"] == "run"]
        return ours.drop_duplicates(["folder", "task", "split", "subset"])

    @cached_property
    def done(self) -> pd.DataFrame:
        """The rows that have a score."""
        return self.frame[self.frame["status"] == "done"]

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row for each cell, with its printed name, in the order of the tables."""
        cells = self.frame.drop_duplicates("folder")
        keys = list(cells[KEY].itertuples(index=False, name=None))
        shown = [key for section in self.sections for key in section.comparison.scores.index]
        places = {key: place for place, key in reversed(list(enumerate(shown)))}
        cells = cells.assign(row=list(map(name_row, keys)), place=[places[key] for key in keys])
        return cells.sort_values("place", kind="stable")

    @cached_property
    def records(self) -> dict[str, dict[str, Any]]:
        pairs = zip(self.cells["folder"], self.cells["record"], strict=True)
        return {folder: json.loads(text) for folder, text in pairs if isinstance(text, str)}

    @cached_property
    def trainings(self) -> list[Training]:
        """Every adapter that a row uses, parents too, once each."""
        found: dict[str, Training] = {}
        for cell in self.cells.itertuples():
            record = self.records.get(str(cell.folder), {})
            adapters = record.get("training") or []
            for place, stated in enumerate(adapters):
                mark = str(stated.get("weights") or stated.get("digest") or stated.get("folder"))
                last = place == len(adapters) - 1
                config = (record.get("config") or {}) if last else {}
                known = found.get(mark)
                if known is None or (not known.recipe and "recipe" in config):
                    name = str(stated.get("folder", mark))
                    found[mark] = Training(name, str(cell.row), str(cell.method), stated, config)
        return sorted(found.values(), key=lambda one: one.name)

    def values(self, *path: str) -> list[Any]:
        """Return the different values that the records hold at a path of keys, missing ones left
        out."""
        found = {json.dumps(value, sort_keys=True): value for value in self._find(path)}
        return [found[key] for key in sorted(found)]

    def count(self, *path: str) -> int:
        """Return how many records hold something at a path of keys."""
        return len(list(self._find(path)))

    def _find(self, path: Sequence[str]) -> Iterator[Any]:
        for record in self.records.values():
            value: Any = record
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None and value != "":
                yield value
