"""Name and order rows, tasks and values as they are printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

# In the order of papers.
SEVEN_STS = ["STS12", "STS13", "STS14", "STS15", "STS16", "STSBenchmark", "SICK-R"]
TYPES = [
    *("STS", "PairClassification", "Classification", "Clustering", "Retrieval", "Reranking"),
    *("Summarization", "BitextMining"),
]
ATTENTIONS = ["causal", "bidirectional"]
POOLINGS = ["last", "mean", "weighted_mean"]
AXES = ["attention", "pooling", "layer", "fitted_on", "dtype", "instructions"]
KEY = ["label", "setting"]  # what a row is known by


def label_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with the columns `label` (the method) and `setting` (what else distinguishes
    a row)."""
    cells = frame.drop_duplicates(["folder", "model"]).copy()
    parts = _name_settings(cells)
    joined = pd.DataFrame(parts).apply(lambda row: ", ".join(filter(None, row)), axis=1)
    # Rows are never merged: those that are still named alike get a further part.
    number = cells.groupby(["folder", "model"]).ngroup().astype(str)
    for text in (
        "seed " + cells["seed"].map(as_text),
        "rate " + cells["learning_rate"].map(lambda rate: f"{rate:g}" if pd.notna(rate) else ""),
        cells["steps"].map(as_text) + " steps",
        "in " + cells["runs"],
        "weights " + cells["revision"].map(as_text),
        "digest " + cells["digest"].map(as_text),
        "number " + number,
    ):
        named = pd.DataFrame({"label": cells["method"], "setting": joined, "own": text})
        alike = named.groupby(["label", "setting"])["own"]
        joined = joined.where(alike.transform("nunique") < 2, joined + ", " + text)
    cells["label"] = cells["method"]
    cells["setting"] = joined.str.removeprefix(", ").map(lambda text: text and f"({text})")
    return frame.merge(cells[["folder", "model", *KEY]], on=["folder", "model"], how="left")


def _name_settings(cells: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the parts of a setting; an axis is named where a method's rows differ in it."""
    short = cells["model"].str.split("/").str[-1]
    parts = {"options": cells["options"].map(as_text)}
    within = cells.groupby(["model", "method"], dropna=False)
    for column in AXES:
        values = cells[column].map(as_text)
        values = "layer " + values if column == "layer" else values
        parts[column] = values.where(within[column].transform("nunique") > 1, "")
    parts["post"] = cells["post"].map(as_text)
    ours = short[cells["source"] == "run"]
    common = ours.mode().iat[0] if len(ours) else ""
    parts["model"] = short.where((short != common) & (cells["source"] == "run"), "")
    adapters = cells["adapters"].map(as_text)  # ours end in a digest
    parts["adapters"] = adapters.str.replace(r"_[0-9a-f]{8}(?=\+|$)", "", regex=True)
    parts["pooler"] = cells["pooler"].map(as_text)
    parts["source"] = cells["source"].where(cells["source"] != "run", "")
    return parts


def name_row(key: Any) -> str:
    """Return a row's key as one text."""
    return " ".join(filter(None, map(str, key)))


def drop_settings(key: Any, parts: Sequence[str]) -> str:
    """Return a row's name without some parts of its setting."""
    label, setting = key
    rest = [part for part in setting.strip("()").split(", ") if part and part not in parts]
    return f"{label} ({', '.join(rest)})" if rest else label


def as_text(value: Any) -> str:
    """Return a value of a column as text; blank if there is none."""
    if pd.isna(value):
        return ""
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def join_unique(frame: pd.DataFrame, column: str) -> str:
    """Return the values of a column, once each, as text."""
    return ", ".join(sorted(str(value) for value in frame[column].dropna().unique()))


def order_types(types: Mapping[str, str]) -> list[str]:
    """Return the types of some tasks: those of TYPES in its order, others as they come."""
    return _order(types.values(), TYPES)


def order_tasks(tasks: Sequence[str], types: Mapping[str, str]) -> list[str]:
    """Return tasks by type, and within a type the seven STS tasks first, others as they come."""
    return [
        task
        for type_ in order_types(types)
        for task in _order(tasks, SEVEN_STS)
        if types[task] == type_
    ]


def order_attentions(attentions: Iterable[str]) -> list[str]:
    """Return attentions once each: the known ones first, others after them by name."""
    return _order(sorted(set(attentions)), ATTENTIONS)


def order_poolings(poolings: Iterable[str]) -> list[str]:
    """Return poolings once each: the known ones first, others after them by name."""
    return _order(sorted(set(poolings)), POOLINGS)


def shorten(task: str) -> str:
    """Return a task's name without its type."""
    for ending in ("PairClassification", "Classification", "Clustering", "Retrieval"):
        if task.endswith(ending) and task != ending:
            return task.removesuffix(ending)
    return task


def _order(values: Iterable[str], known: Sequence[str]) -> list[str]:
    present = dict.fromkeys(values)
    return sorted(present, key=lambda v: known.index(v) if v in known else len(known))
