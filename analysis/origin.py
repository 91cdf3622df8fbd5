"""State in one line where a study's numbers come from: `python -m analysis.origin FOLDER ...`.

Cost, dtype, processor, date and commit, read from the records. The READMEs show these lines below
their tables, and a test compares them.
"""

from __future__ import annotations

import argparse
import json
import sys

import pandas as pd

from analysis.labels import join_unique
from analysis.records.results import load_results


def describe_origin(frame: pd.DataFrame) -> str:
    """Return what was computed, in which dtype, on which processor, when, and by which commit.

    frame: rows of records (`load_results`). A processor is named where its record names one.
    """
    rows = frame.drop_duplicates(["folder", "task", "split", "subset"])
    seconds = rows["seconds"].sum()
    parts = [f"{rows['tokens_computed'].sum():,.0f} tokens in {_format_duration(seconds)}"]
    if rows["train_seconds"].notna().any():
        trained = rows.drop_duplicates("folder")["train_seconds"].sum()
        parts[0] += f", after {_format_duration(trained)} of training"
    parts.append(join_unique(rows, "dtype"))
    records = [json.loads(text) for text in rows["record"].unique()]
    named = sorted({record["processor"] for record in records if record.get("processor")})
    parts += ["; ".join(named)] if named else []
    dates = sorted(set(rows["date"]))
    parts.append(dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}")
    commits = sorted(set(rows["commit"]))
    parts.append(f"commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}")
    return f"({'; '.join(parts)})"


def _format_duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def main() -> None:
    """Print the line of each folder of runs."""
    parser = argparse.ArgumentParser(
        description="Print where the numbers of each folder of runs come from."
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    for folder in parser.parse_args().folders:
        try:
            print(describe_origin(load_results([folder])))
        except ValueError as error:
            sys.exit(f"python -m analysis.origin: {error}")


if __name__ == "__main__":
    main()
