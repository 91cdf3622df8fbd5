"""Records -> one tidy frame: a row per model x method x cell x task x split x subset.

Three kinds of rows, told apart by `source`:

    run        a cell of ours: any folder that holds `record/run.json` (see runs/README.md)
    mteb       any other folder in mteb's result layout: someone's own model
    published  a CSV of published scores (its columns: PUBLISHED)

A task that failed or is missing has a row too, without a score, so that no average can hide it. A
file that cannot be read is named: in the log, and in the frame's `attrs["unread"]`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.foreign import find_foreign, read_foreign
from analysis.mteb_files import Unreadable, read_json

log = logging.getLogger(__name__)

SCHEMA = 1  # of records: the newest that is known here; those without a number are of schema 0
GEOMETRY = [
    *("mean_cosine", "uniformity", "effective_rank", "top_dimension", "top_components"),
    *("alignment", "centred", "whitened"),
]
TRAINING = ["trained_on", "pooler", "steps", "learning_rate", "train_seconds"]
COLUMNS = [
    *("source", "reports", "model", "revision", "adapters", "method", "options", "attention"),
    *("pooling", "layer", "dtype", "instructions", "digest", "default", "task", "type", "split"),
    *("subset", "metric", "score", "score_error", "status", "message", "data", "code"),
    *("dataset_revision", "statistic", "unit", "texts", "cut_texts", "tokens", "tokens_computed"),
    *("tokens_per_second", "seconds", "peak_memory_mib", "linear_weights", *GEOMETRY),
    *TRAINING,
    *("commit", "date", "command", "runs", "folder", "schema", "record", "benchmark"),
]
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
            rows += _read_cell(record, unread)
        for other in others:
            rows += ({**row, "runs": _runs(other)} for row in read_foreign(other, unread))
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


def _read_cell(path: Path, unread: list[str]) -> list[dict[str, Any]]:
    """The rows of a record; of one that cannot be read none, and `unread` says why.

    Raises ValueError for a record of a newer schema: what its fields mean is not known here.
    """
    try:
        record = read_json(path)
        if not isinstance(record, Mapping):
            raise Unreadable(f"it holds {type(record).__name__}, not an object")
        schema = record.get("schema", 0)
        if isinstance(schema, int) and schema > SCHEMA:
            raise ValueError(
                f"{path} is a record of schema {schema}; known here are those up to {SCHEMA}. "
                f"Report it with the version that wrote it (commit {record.get('commit')}) or newer"
            )
        return list(_cell(path, record))
    except Unreadable as error:
        unread.append(f"{path} is not read: {error}")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        unread.append(
            f"{path} is not read: it is no record as dec2vec writes them "
            f"({type(error).__name__}: {error})"
        )
    return []


def _cell(path: Path, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    folder = path.parent.parent
    options, own = record.get("options", {}), record.get("default", {})
    changed = " (changed)" if record.get("dirty") else ""
    about = {
        **{name: record.get(name) for name in COLUMNS if name in record},
        "source": "run",
        "reports": ", ".join(record.get("reports", [])),
        "adapters": "+".join(_chain(record)),
        "options": ", ".join(f"{key}={value}" for key, value in options.items()),
        "default": bool(own)
        and not options
        and all(record.get(axis) == value for axis, value in own.items()),
        "runs": _runs(folder),
        "folder": str(folder),
        "schema": record.get("schema", 0),
        "benchmark": ((record.get("config") or {}).get("tasks") or {}).get("benchmark"),
        "record": json.dumps({k: v for k, v in record.items() if k != "tasks"}, indent=1),
        **_trained(record.get("training", [])),
    }
    for task, entry in record["tasks"].items():
        row = {
            **about,
            **{name: entry[name] for name in COLUMNS if name in entry},
            **{name: (entry.get("examples") or {}).get(name) for name in ("statistic", "unit")},
            "task": task,
            "metric": entry.get("main_score"),
            "message": _message(entry),
        }
        row["commit"] = f"{row['commit']}{changed}" if row.get("commit") else None
        parts = list(_parts(folder / f"{task}.json", entry)) if entry["status"] == "done" else []
        if entry["status"] == "done" and not parts:  # a record that promises what is not there
            row |= {"status": "missing", "message": f"no scores of it in {task}.json"}
        for part in parts or [{}]:
            yield {**row, **part}


def _message(entry: Mapping[str, Any]) -> str | None:
    """What is to be said of a task: why it failed, or what of it is not there."""
    said = [
        *(entry.get("missing_parts") or ()),
        *filter(None, (entry.get("examples_error"), entry.get("geometry_error"))),
    ]
    return entry.get("error") or "; ".join(said) or None


def _chain(record: Mapping[str, Any]) -> list[str]:
    """The adapters of a cell by name, those first that others stand on (below/N_NAME)."""
    given = [Path(adapter).name for adapter in record.get("adapters", [])]
    merged = [part["folder"] for part in record.get("training", []) if "folder" in part]
    return [re.sub(r"^\d+_", "", name) if name not in given else name for name in merged] or given


def _trained(adapters: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What the last adapter of a chain was trained on and how, and the seconds of all of them."""
    if not adapters or "learning_rate" not in adapters[-1]:
        return {}
    last = adapters[-1]
    return {
        "trained_on": ", ".join(last["data"]["sources"]),
        "pooler": last.get("pooler"),
        "steps": last["steps"],
        "learning_rate": last["learning_rate"],
        "train_seconds": sum(adapter.get("seconds", 0) for adapter in adapters),
    }


def _parts(file: Path, entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The scores of a task's splits and subsets, with their geometry and their data's digest."""
    try:
        result = read_json(file)
    except Unreadable:
        return
    geometry, stamps = entry.get("geometry") or {}, entry.get("parts") or {}
    for split in entry["splits"]:
        for scores in result["scores"].get(split, []):
            if (subset := scores["hf_subset"]) in entry["subsets"]:
                stamp = stamps.get(split, {}).get(subset, {})
                yield {
                    "split": split,
                    "subset": subset,
                    "score": scores["main_score"],
                    "score_error": scores.get("main_score_error"),
                    "dataset_revision": result.get("dataset_revision"),
                    **{name: stamp[name] for name in ("data", "code") if name in stamp},
                    **geometry.get(split, {}).get(subset, {}),
                }


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


def _runs(folder: Path) -> str:
    """The runs folder that a cell lies in: what stands before results/."""
    for parent in folder.resolve().parents:
        if parent.name == "results":
            return parent.parent.name
    return folder.resolve().parent.name
