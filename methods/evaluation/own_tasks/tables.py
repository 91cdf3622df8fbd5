"""Read a task from a table, or from one for each split: its kind, and the values of its rows."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from methods.config.own_tasks import COLUMNS, SPLIT, WORD, Kind, OwnTask
from methods.data.readers import Table, open_table
from methods.data.rows import find_text_fault
from methods.evaluation.own_tasks.faults import raise_faults

log = logging.getLogger(__name__)
SPLITS = ("train", "validation", "dev", "test")  # names of files in a folder
HALVES = "half of each class is trained on and the rest tested, drawn with seed 42"
Columns = dict[str, list[Any]]
Rows = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Layout:
    """What the rows are read by.

    theirs: our name of a column -> the file's, of the kind's columns. split: the column that names
    a row's split, or None.
    """

    kind: Kind
    theirs: Mapping[str, str]
    split: str | None
    scale: Sequence[float] | None


def read_tables(
    own: OwnTask, files: Mapping[str | None, Path]
) -> tuple[Kind, dict[str, Columns], dict[str, Any]]:
    """Return a task's kind, its splits (column -> values), and what was decided about it.

    files: one a split, or one under None, whose rows may name their split. Raises ValueError for
    columns that are no kind of task, and for rows and splits that cannot be evaluated.
    """
    tables = {split: open_table(file) for split, file in files.items()}
    rows = {split: list(table.iterate_places()) for split, table in tables.items()}
    layout = _find_layout(own, _find_columns(tables, rows), whole=None in files)
    named = None not in files or layout.split is not None
    if own.split and named:
        raise ValueError(f"{own.place} names the split of its rows; leave split={own.split} out")
    splits: dict[str, Columns] = {}
    for split, part in rows.items():
        _add_rows(splits, part, layout, split or own.split or "test", tables[split].name)
    kind, source, facts = layout.kind, str(own.place), {}
    if kind == "classification" and not named:
        if own.split:
            raise ValueError(f"{source}: of classification {HALVES}; leave split={own.split} out")
        splits, facts["split"] = _halve(splits["test"], source), HALVES
    _check_splits(kind, splits, source)
    if kind == "sts":
        scores = [score for part in splits.values() for score in part["score"]]
        facts["scale"] = list(map(float, own.scale or (min(scores), max(scores))))
    return kind, splits, facts


def _find_layout(own: OwnTask, columns: Sequence[str], *, whole: bool) -> Layout:
    """Return what rows are read by. whole: there is one file, whose rows may name their split."""
    column = own.columns.get(SPLIT, SPLIT)
    if SPLIT in own.columns and column not in columns:
        raise ValueError(f"{own.place} has no column {column}; it has: {', '.join(columns)}")
    split = column if whole and column in columns else None
    kind = own.kind or _recognise(own, columns, has_splits=not whole or split is not None)
    theirs = {role: own.columns.get(role, role) for role in COLUMNS[kind]}
    if lacking := [name for name in theirs.values() if name not in columns]:
        raise ValueError(
            f"{own.place} has no column {', '.join(lacking)}; it has: {', '.join(columns)}. {kind} "
            f"needs {', '.join(COLUMNS[kind])}; name those that are called otherwise: "
            f"tasks.own=[{{path: {own.path}, kind: {kind}, columns: {{{COLUMNS[kind][0]}: NAME}}}}]"
        )
    return Layout(kind, theirs, split, own.scale)


def _find_columns(tables: Mapping[Any, Table], rows: Mapping[Any, Rows]) -> list[str]:
    """Return the columns that every table has: of a header, or of any of its objects."""
    found = []
    for split, table in tables.items():
        if not rows[split]:
            raise ValueError(f"{table.name} has no row")
        own = table.columns or dict.fromkeys(name for _, row in rows[split] for name in row)
        found.append(list(own))
    return [name for name in found[0] if all(name in own for own in found)]


def _recognise(own: OwnTask, columns: Sequence[str], *, has_splits: bool) -> Kind:
    """Return the one kind that the columns fit. Raises ValueError for none and for several."""
    roles = set(own.columns) | (set(columns) - set(own.columns.values()))
    fits: list[Kind] = [kind for kind, needed in COLUMNS.items() if roles.issuperset(needed)]
    if set(fits) == {"classification", "clustering"} and has_splits:
        fits = ["classification"]  # nothing is trained on where texts are clustered
    if len(fits) == 1:
        log.info("%s is of kind %s, by its columns", own.place, fits[0])
        return fits[0]
    shown = ", ".join(columns)
    if fits:
        raise ValueError(
            f"{own.place} has the columns {shown}, which fit several kinds; say which: "
            f"{' or '.join(f'kind: {kind}' for kind in fits)}, as in "
            f"tasks.own=[{{path: {own.path}, kind: {fits[0]}}}]"
        )
    needed = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in COLUMNS.items())
    close = max(COLUMNS, key=lambda kind: len(roles & set(COLUMNS[kind])))  # the first of equals
    lacking = ", ".join(f"{role}: NAME" for role in COLUMNS[close] if role not in roles)
    raise ValueError(
        f"{own.place} has the columns {shown}, which fit no kind of task. Valid are {needed}. Say "
        f"which column is which, for instance tasks.own=[{{path: {own.path}, kind: {close}, "
        f"columns: {{{lacking}}}}}]"
    )


def _add_rows(
    splits: dict[str, Columns], rows: Rows, layout: Layout, split: str, source: str
) -> None:
    """Add a table's rows to their splits, each value read and checked. split: where none is named.
    Raises ValueError for rows that cannot be evaluated."""
    faults: dict[str, str] = {}
    for where, row in rows:
        name = split
        if layout.split is not None:
            name = str(row.get(layout.split) or "")
            if not WORD.fullmatch(name):
                faults[where] = f"{layout.split} is {name!r}, no name of a split"
                continue
        values: dict[str, Any] = {}
        for role, column in layout.theirs.items():
            values[role], fault = _read_value(layout, role, column, row.get(column))
            if fault is not None:
                faults[where] = fault
                break
        else:
            part = splits.setdefault(name, {role: [] for role in layout.theirs})
            for role, value in values.items():
                part[role].append(value)
    raise_faults(source, faults, number=len(rows))


def _read_value(layout: Layout, role: str, column: str, value: Any) -> tuple[Any, str | None]:
    """Return a cell's value as the task needs it, and what is wrong with it."""
    if role == "score":
        return _read_score(column, value, layout.scale)
    if role != "label":
        return value, find_text_fault(column, value)
    if layout.kind == "pair_classification":
        found = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}.get(str(value).strip())
        wrong = f"{column} is {value!r}; it is 1 for a pair that belongs together, else 0"
        return found, wrong if found is None else None
    if value is None or isinstance(value, list | dict) or not str(value).strip():
        return None, f"{column} is {value!r}, no label"
    return str(value), None


def _read_score(
    column: str, value: Any, scale: Sequence[float] | None
) -> tuple[float | None, str | None]:
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        return None, f"{column} is {value!r}, no number"
    if scale is not None and not scale[0] <= found <= scale[1]:
        return None, f"{column} is {value}, outside the scale of {scale[0]:g} to {scale[1]:g}"
    return found, None


def _halve(columns: Columns, source: str) -> dict[str, Columns]:
    """Return a train and a test split of half of each class's rows, in the file's order."""
    counts = Counter(columns["label"])
    if single := [label for label, number in counts.items() if number < 2]:
        raise ValueError(
            f"{source}: {len(single)} of {len(counts)} classes have one row "
            f"({', '.join(single[:3])}); one is trained on and one tested. Add rows, or name the "
            f"rows' split in a column {SPLIT}: train or test"
        )
    draw, trained = random.Random(42), set()
    for label in sorted(counts):
        places = [place for place, own in enumerate(columns["label"]) if own == label]
        trained |= set(draw.sample(places, len(places) // 2))
    return {
        split: {
            role: [
                value for at, value in enumerate(values) if (at in trained) == (split == "train")
            ]
            for role, values in columns.items()
        }
        for split in ("train", "test")
    }


def _check_splits(kind: Kind, splits: Mapping[str, Columns], source: str) -> None:
    """Raise ValueError for splits that give no score: one class, one score, nothing to train on."""
    if kind == "classification":
        return _check_classes(splits, source)
    for split, columns in splits.items():
        role = COLUMNS[kind][-1]
        found = set(columns[role])
        if len(found) < 2:
            why = {
                "sts": "a correlation needs different ones",
                "pair_classification": "average precision needs pairs of both",
                "clustering": "clusters are compared with two labels or more",
            }[kind]
            raise ValueError(
                f"{source}: every {role} of split {split} is {next(iter(found))} "
                f"({len(columns[role]):,} rows); {why}"
            )
        if kind == "clustering" and len(found) == len(columns[role]):
            raise ValueError(
                f"{source}: split {split} has as many labels as texts ({len(found):,}); a cluster "
                f"needs several texts of one label"
            )
    return None


def _check_classes(splits: Mapping[str, Columns], source: str) -> None:
    if "train" not in splits or len(splits) == 1:
        raise ValueError(
            f"{source} has the splits {', '.join(splits)}; classification needs train and another "
            f"to be tested on, for instance test"
        )
    trained = set(splits["train"]["label"])
    if len(trained) < 2:
        raise ValueError(
            f"{source}: every label of split train is {next(iter(trained))}; a classifier needs "
            f"two classes or more"
        )
    for split, columns in splits.items():
        if new := sorted(set(columns["label"]) - trained):
            raise ValueError(
                f"{source}: split {split} has {', '.join(new[:3])}, which no row of split train has"
            )
