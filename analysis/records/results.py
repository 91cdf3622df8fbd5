"""Records -> one tidy frame: a row per model x method x cell x task x split x subset.

`source` says where a row comes from:

    run        a cell of ours: any folder that holds `record/run.json` (see runs/README.md)
    mteb       any other folder in mteb's result layout: someone's own model
    published  a CSV of published scores (its columns: published.PUBLISHED)

A task that failed or is missing has a row too, without a score, so that no average can hide it. A
file that cannot be read is named: in the log, and in the frame's `attrs["unread"]`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.records.cells import find_runs_folder, read_cell
from analysis.records.columns import COLUMNS
from analysis.records.foreign import find_foreign, read_foreign
from analysis.records.mteb_files import Unreadable, read_json
from analysis.records.published import read_published

log = logging.getLogger(__name__)


def load_results(
    folders: Iterable[str | Path], *, published: str | Path | None = None
) -> pd.DataFrame:
    """Return all rows under some folders, in COLUMNS: of `results/` where a folder has it, else of
    the whole folder.

    published: a CSV of scores; its rows of tasks that the folders have are added.
    Raises ValueError where a folder holds no result, a record is of a newer schema than is known
    here, or the CSV lacks a column.
    """
    rows: list[dict[str, Any]] = []
    unread: list[str] = []
    for folder in folders:
        rows += _read_folder(Path(folder), unread)
    for line in unread:
        log.warning("%s", line)
    if not rows:
        raise ValueError(f"nothing could be read: {'; '.join(unread) or 'no record has a task'}")
    frame = pd.DataFrame(rows, columns=COLUMNS)
    if published is not None:
        frame = pd.concat([frame, read_published(Path(published), frame)], ignore_index=True)
    # mteb's files do not state a task's type; the rows that do state it for all.
    types = frame.dropna(subset=["type"]).drop_duplicates("task").set_index("task")["type"]
    frame["type"] = frame["type"].fillna(frame["task"].map(types))
    frame.attrs["unread"] = unread
    return frame


def _read_folder(folder: Path, unread: list[str]) -> list[dict[str, Any]]:
    # a runs folder may hold other runs folders: runs/demo, runs/reference
    root = folder / "results" if (folder / "results").is_dir() else folder
    records = sorted(root.rglob("record/run.json"))
    others = find_foreign(root)
    if not records and not others:
        raise ValueError(
            f"{folder} holds no records (**/record/run.json) and no results of mteb "
            f"(**/model_meta.json); run dec2vec evaluate"
        )
    rows = [row for record in records for row in read_cell(record, unread)]
    for other in others:
        rows += ({**row, "runs": find_runs_folder(other)} for row in read_foreign(other, unread))
    return rows


def keep_tasks(frame: pd.DataFrame, tasks: Iterable[str]) -> pd.DataFrame:
    """Return the rows of some tasks. Raises ValueError for a task that no row has."""
    known, tasks = set(frame["task"]), list(tasks)
    if unknown := [task for task in tasks if task not in known]:
        raise ValueError(
            f"no record of {', '.join(unknown)}; there are: {', '.join(sorted(known))}"
        )
    return frame.loc[frame["task"].isin(tasks)]


def load_examples(folder: str | Path, task: str) -> pd.DataFrame | None:
    """Return a cell's scores of each example (split, subset, example, value, gold), if recorded."""
    file = Path(folder) / "record" / "examples" / f"{task}.csv.gz"
    if not file.exists():
        return None
    examples = pd.read_csv(file, dtype={"example": str}, keep_default_na=False)
    for name in {"value", "gold"} & set(examples):
        examples[name] = pd.to_numeric(examples[name], errors="coerce")
    unlabelled = "gold" in examples and examples["gold"].isna().all()
    return examples.drop(columns="gold") if unlabelled else examples


def load_scores(folder: str | Path, task: str) -> list[dict[str, Any]]:
    """Return every score that a cell's result file has of a task, by `split` and `hf_subset`."""
    try:
        splits = read_json(Path(folder) / f"{task}.json")["scores"]
    except Unreadable:
        return []
    return [{"split": split, **scores} for split, entries in splits.items() for scores in entries]
