"""`dec2vec report [RUNS ...] [--out DIR]`: tables from what runs left behind."""

import argparse
import logging
import sys
from pathlib import Path

from analysis.results import load_results
from analysis.tables import keep_tasks, task_table, type_table


def main() -> None:
    """Entry point of the verb."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    parser.add_argument("runs", nargs="*", default=["runs"], help="folders of records [runs]")
    parser.add_argument("--out", help="where tables are written [FIRST RUNS/report]")
    parser.add_argument("--tasks", help="only these tasks, separated by commas")
    arguments = parser.parse_args()
    try:
        frame = load_results(arguments.runs)
        if arguments.tasks:
            frame = keep_tasks(frame, arguments.tasks.split(","))
    except ValueError as error:
        sys.exit(f"dec2vec report: {error}")
    out = Path(arguments.out or Path(arguments.runs[0]) / "report")
    for table in (type_table(frame), task_table(frame)):
        print(table.to_markdown())
        table.write(out)
    print(f"written to {out}: types and tasks, as .md, .tex and .csv")
