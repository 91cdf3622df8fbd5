"""Records -> one tidy frame: a row per model x method x cell x task x split x subset.

Three kinds of rows, told apart by `source`:

    run        a cell of ours: any folder that holds `record/run.json` (see runs/README.md)
    mteb       any other folder in mteb's result layout: someone's own model
    published  a CSV of published scores (its columns: PUBLISHED)

A task that failed or is missing has a row too, without a score, so that no average can hide it. A
file that cannot be read is named: in the log, and in the frame's `attrs["unread"]`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.foreign import find_foreign, read_foreign
from analysis.records import COLUMNS, read_cell, runs_folder

log = logging.getLogger(__name__)

CELL = [
    *("model", "revision", "adapters", "method", "options", "attention", "pooling", "layer"),
    *("dtype", "instructions", "digest"),
]
PUBLISHED = ["model", "task", "task_type", "split", "hf_subset", "main_score", "dataset_revision"]


def load_results(
    folders: Iterable[str | Path], *, published: str | Path | None = None
) -> pd.DataFrame:
    """All rows under some folders, in COLUMNS: of `results/` where a folder has it, else of all.

    published: a CSV of scores; its rows of tasks that the folders have come with them.
    Raises ValueError where a folder holds no result, a record is of a newer schema than is known
    here, or the CSV lacks a column.
    """
    rows: list[dict[str, Any]] = []
    unread: list[str] = []
    for folder in folders:
        root = Path(folder)  # a runs folder may hold other runs folders: runs/demo, runs/reference
        root = root / "results" if (root / "results").is_dir() else root
        records = sorted(root.rglob("record/run.json"))
        others = find_foreign(root)
        if not records and not others:
            raise ValueError(
                f"{folder} holds no records (**/record/run.json) and no results of mteb "
                f"(**/model_meta.json); run dec2vec evaluate"
            )
        for record in records:
            rows += read_cell(record, unread)
        for other in others:
            rows += ({**row, "runs": runs_folder(other)} for row in read_foreign(other, unread))
    for line in unread:
        log.warning("%s", line)
    if not rows:
        raise ValueError(f"nothing could be read: {'; '.join(unread) or 'no record has a task'}")
    frame = pd.DataFrame(rows, columns=COLUMNS)
    if published is not None:
        frame = pd.concat([frame, _published(Path(published), frame)], ignore_index=True)
    # mteb's files do not state a task's type: whoever does states it for all.
    types = frame.dropna(subset=["type"]).drop_duplicates("task").set_index("task")["type"]
    frame["type"] = frame["type"].fillna(frame["task"].map(types))
    frame.attrs["unread"] = unread
    return frame


def inconsistencies(frame: pd.DataFrame) -> list[str]:
    """What makes rows of a frame not comparable, in sentences."""
    found = []
    done = frame[(frame["status"] == "done") & (frame["source"] == "run")]
    if done["dtype"].nunique() > 1:
        counts = done["dtype"].value_counts().sort_index()
        mixed = ", ".join(f"{number} scores in {dtype}" for dtype, number in counts.items())
        found.append(f"dtypes are mixed: {mixed}")
    sets = done.groupby(["task", "split", "subset"])["data"].nunique().groupby("task").max()
    for task, number in sets[sets > 1].items():
        found.append(f"{task} was scored on {number} different sets of data")
    for (method, model), group in done.groupby(["method", "model"]):
        if group["code"].nunique() > 1:
            found.append(
                f"{method} on {model} was run with {group['code'].nunique()} versions of its code: "
                f"commits {', '.join(sorted(group['commit'].dropna().unique()))}"
            )
    if done["engine"].nunique() > 1:
        commits = ", ".join(sorted(done.dropna(subset=["engine"])["commit"].dropna().unique()))
        found.append(
            f"scores were made by {done['engine'].nunique()} versions of the engine, which may "
            f"differ in the last digits: commits {commits}"
        )
    for (method, adapters, said), _ in done.groupby(["method", "adapters", "trained_as"]):
        found.append(f"{method} with {adapters} was trained with {said} as it is evaluated here")
    place = [*CELL, "task", "split", "subset"]
    counts = done.groupby(place, dropna=False, as_index=False).agg(
        times=("score", "size"), runs=("runs", lambda names: ", ".join(sorted(set(names))))
    )
    for _, twice in counts[counts["times"] > 1].groupby(CELL, dropna=False):
        row = twice.iloc[0]
        tasks = ", ".join(sorted(twice["task"].unique())[:3]) + (", ..." if len(twice) > 3 else "")
        found.append(
            f"{row['method']} ({row['attention']}, {row['pooling']}, layer {row['layer']}) on "
            f"{tasks} stands there {row['times']} times, in {row['runs']}; the rows are kept apart"
        )
    theirs = frame[frame["source"] != "run"].dropna(subset=["dataset_revision"])
    ours = frame[frame["source"] == "run"].groupby("task")["dataset_revision"].unique()
    for task, revisions in theirs.groupby("task")["dataset_revision"]:
        other = set(revisions) - set(ours.get(task, []))
        if task in ours and other:
            found.append(
                f"{task}: other people's scores are of revision {', '.join(sorted(other))} of the "
                f"data, ours of {', '.join(map(str, ours[task]))}"
            )
    if not len(ours):
        for task, revisions in theirs.groupby("task")["dataset_revision"].unique().items():
            if len(revisions) > 1:
                found.append(
                    f"{task}: scores are of different revisions of the data: "
                    f"{', '.join(sorted(map(str, revisions)))}"
                )
    return found


def keep_tasks(frame: pd.DataFrame, tasks: Iterable[str]) -> pd.DataFrame:
    """The rows of some tasks. Raises ValueError for a task that no row has."""
    known, tasks = set(frame["task"]), list(tasks)
    if unknown := [task for task in tasks if task not in known]:
        raise ValueError(
            f"no record of {', '.join(unknown)}; there are: {', '.join(sorted(known))}"
        )
    return frame.loc[frame["task"].isin(tasks)]


def load_examples(folder: str | Path, task: str) -> pd.DataFrame | None:
    """A cell's scores example by example (split, subset, example, value, gold), if it kept any."""
    file = Path(folder) / "record" / "examples" / f"{task}.csv.gz"
    if not file.exists():
        return None
    kept = pd.read_csv(file, dtype={"example": str}, keep_default_na=False)
    for name in {"value", "gold"} & set(kept):
        kept[name] = pd.to_numeric(kept[name], errors="coerce")
    return kept.drop(columns="gold") if "gold" in kept and kept["gold"].isna().all() else kept


def _published(file: Path, ours: pd.DataFrame) -> pd.DataFrame:
    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:  # of pandas', which name no file
        raise ValueError(f"the published scores {file} cannot be read: {error}") from error
    if missing := [column for column in PUBLISHED if column not in table]:
        raise ValueError(f"{file} has no column {', '.join(missing)}; needed: {PUBLISHED}")
    table = table.rename(
        columns={"task_type": "type", "hf_subset": "subset", "main_score": "score"}
    )
    places = ["task", "split", "subset"]  # only what stands beside a score of ours
    table = table.merge(ours[places].drop_duplicates(), on=places)
    table = table.assign(
        source="published",
        reports="",
        method=table["model"].str.split("/").str[-1],
        adapters="",
        options="",
        default=False,
        status="done",
        runs=file.name,
        folder=str(file),
    )
    return table.reindex(columns=COLUMNS).astype(ours.dtypes.to_dict(), errors="ignore")
