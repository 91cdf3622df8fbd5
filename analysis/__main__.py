"""`dec2vec report [RUNS ...] [--out DIR]`, or `python -m analysis`: tables, figures and a page.

Needs pandas with its extras and matplotlib alone:
pip install 'pandas[computation,output-formatting]' matplotlib
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from analysis.report import Section, report
from analysis.statistics import SAMPLES


def main() -> None:
    """Entry point of the verb."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    parser = argparse.ArgumentParser(
        prog=sys.argv[0] if "report" in sys.argv[0] else "python -m analysis", description=__doc__
    )
    parser.add_argument("runs", nargs="*", default=["runs"], help="folders of records [runs]")
    parser.add_argument("--out", help="where everything is written [FIRST RUNS/report]")
    parser.add_argument("--published", metavar="CSV", help="published scores to show beside ours")
    parser.add_argument("--tasks", help="only these tasks, separated by commas")
    parser.add_argument("--common", action="store_true", help="only tasks that all rows have")
    parser.add_argument("--base", help="the row that differences are to [the best]")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of the bootstrap [1000]")
    chosen = parser.parse_args()
    out = Path(chosen.out or Path(chosen.runs[0]) / "report")
    try:
        made = report(
            chosen.runs,
            out,
            published=chosen.published,
            tasks=chosen.tasks.split(",") if chosen.tasks else None,
            common=chosen.common,
            base=chosen.base,
            samples=chosen.samples,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"dec2vec report: {error}")
    show(made, out)


def show(made: list[Section], out: Path) -> None:
    """Print each section's first two tables, and where the rest is."""
    for section in made:
        print(f"# {section.name}\n")
        for table in section.tables[:2]:
            print(table.to_markdown())
        names = ", ".join(dict.fromkeys([*(t.name for t in section.tables), *section.figures]))
        print(f"{out / section.name}: {names}\n")
    print(f"{out / 'report.html'}: all of it, to be opened in a browser")


if __name__ == "__main__":
    main()
