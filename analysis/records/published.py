"""A CSV of published scores -> rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.records.columns import COLUMNS

PUBLISHED = ["model", "task", "task_type", "split", "hf_subset", "main_score", "dataset_revision"]


def read_published(file: Path, ours: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a CSV whose task, split and subset our frame has a score of.

    Raises ValueError for a file that cannot be read or lacks a column of PUBLISHED.
    """
    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:  # pandas' own message names no file
        raise ValueError(f"the published scores {file} cannot be read: {error}") from error
    if missing := [column for column in PUBLISHED if column not in table]:
        raise ValueError(f"{file} has no column {', '.join(missing)}; needed: {PUBLISHED}")
    table = table.rename(
        columns={"task_type": "type", "hf_subset": "subset", "main_score": "score"}
    )
    places = ["task", "split", "subset"]
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
