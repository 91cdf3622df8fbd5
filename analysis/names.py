"""How rows, tasks and commands are called."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd

TYPES = [
    *("STS", "PairClassification", "Classification", "Clustering", "Retrieval", "Reranking"),
    *("Summarization", "BitextMining"),
]
AXES = ["attention", "pooling", "layer", "dtype", "instructions"]
KEY = ["label", "setting"]  # what a row is known by


def labels(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns `label` (the method) and `setting` (all that tells its rows apart) for every row."""
    cells = frame.drop_duplicates(["folder", "model"]).copy()
    short = cells["model"].str.split("/").str[-1]
    parts = {"options": cells["options"].map(as_text)}
    within = cells.groupby(["model", "method"], dropna=False)
    for column in AXES:
        values = cells[column].map(as_text)
        values = "layer " + values if column == "layer" else values
        parts[column] = values.where(within[column].transform("nunique") > 1, "")
    ours = short[cells["source"] == "run"]
    common = ours.mode().iat[0] if len(ours) else ""
    parts["model"] = short.where((short != common) & (cells["source"] == "run"), "")
    made = cells["adapters"].map(as_text)  # ours end in a digest
    parts["adapters"] = made.str.replace(r"_[0-9a-f]{8}(?=\+|$)", "", regex=True)
    parts["pooler"] = cells["pooler"].map(as_text)
    parts["source"] = cells["source"].where(cells["source"] != "run", "")
    joined = pd.DataFrame(parts).apply(lambda row: ", ".join(filter(None, row)), axis=1)
    # Never merged silently: what is still alike is told apart by what lies deeper.
    number = cells.groupby(["folder", "model"]).ngroup().astype(str)
    for text in (
        "in " + cells["runs"],
        "weights " + cells["revision"].map(as_text),
        "digest " + cells["digest"].map(as_text),
        "number " + number,
    ):
        twin = pd.DataFrame({"label": cells["method"], "setting": joined, "own": text})
        alike = twin.groupby(["label", "setting"])["own"]
        joined = joined.where(alike.transform("nunique") < 2, joined + ", " + text)
    cells["label"] = cells["method"]
    cells["setting"] = joined.str.removeprefix(", ").map(lambda text: text and f"({text})")
    return frame.merge(cells[["folder", "model", *KEY]], on=["folder", "model"], how="left")


def as_text(value: Any) -> str:
    """Return a value of a column as text; blank if there is none."""
    if pd.isna(value):
        return ""
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def command(frame: pd.DataFrame) -> str:
    """One command that makes all rows again; of different ones their experiment and number (of
    records without a schema number the first, and how many more)."""
    commands = list(frame["command"].dropna().unique())
    given: dict[str, list[str]] = {}
    verbs = set()
    try:
        for text in commands:
            words = shlex.split(text)
            verbs.add(words[1])
            for word in words[2:]:
                key, _, value = word.partition("=")
                given.setdefault(key, []).append(value)
    except ValueError:  # a quote that never closes
        given = {}
    values = {key: sorted(set(own)) for key, own in given.items()}
    varied = [key for key, own in values.items() if len(own) > 1]
    whole = all(len(own) == len(commands) for own in given.values())
    crossed = math.prod(map(len, values.values())) == len(commands)
    if commands and not (given and whole and crossed and len(verbs) == 1):
        schemas = frame["schema"] if "schema" in frame else pd.Series([0])
        if len(commands) > 1 and schemas.ge(1).all():  # older tables stay as they are
            experiment = values.get("experiment", [])
            several = f"{len(commands)} commands, listed in report.html"
            return f"experiment={experiment[0]} ({several})" if len(experiment) == 1 else several
        return commands[0] + (f" (and {len(commands) - 1} more)" if len(commands) > 1 else "")
    if not commands:
        return ""
    words = [shlex.quote(f"{key}={','.join(own)}") for key, own in values.items()]
    return f"dec2vec {verbs.pop()} {'-m ' if varied else ''}{' '.join(words)}"


def unique_values(frame: pd.DataFrame, column: str) -> str:
    """Return the values of a column, once each, as text."""
    return ", ".join(sorted(str(value) for value in frame[column].dropna().unique()))


def ordered(types: Mapping[str, str]) -> list[str]:
    """The types there are, in the order papers have them."""
    present = list(dict.fromkeys(types.values()))
    return sorted(present, key=lambda t: TYPES.index(t) if t in TYPES else len(TYPES))


def short(task: str) -> str:
    """A task's name without its type."""
    for ending in ("PairClassification", "Classification", "Clustering", "Retrieval"):
        if task.endswith(ending) and task != ending:
            return task.removesuffix(ending)
    return task
