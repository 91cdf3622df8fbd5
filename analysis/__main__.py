"""Make tables, figures and one HTML page from the records of runs: `python -m analysis RUNS`.

Needs pandas with its extras and matplotlib alone:
pip install 'pandas[computation,output-formatting]' matplotlib
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.section import Section


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    name = sys.argv[0] if "report" in sys.argv[0] else "python -m analysis"
    parser = argparse.ArgumentParser(
        prog=name,
        description="Make tables (Markdown, CSV, LaTeX), figures (PDF, PNG) and report.html from "
        "the records of runs.",
        epilog=f"for instance: {name} runs/demo --out report --tasks STS12,STS13",
    )
    parser.add_argument("runs", nargs="*", default=["runs"], help="folders of records [runs]")
    parser.add_argument("--out", help="where everything is written [FIRST RUNS/report]")
    parser.add_argument("--published", metavar="CSV", help="published scores to show beside ours")
    parser.add_argument("--tasks", help="only these tasks, separated by commas")
    parser.add_argument("--common", action="store_true", help="only tasks that all rows have")
    parser.add_argument("--base", help="the row that differences are to [the best]")
    parser.add_argument("--samples", type=int, help="of the bootstrap [1000]")
    paper = parser.add_argument_group("a paper, in place of the report")
    paper.add_argument("--paper", metavar="DIR", help="write main.tex, tables, figures, appendix")
    paper.add_argument("--paper-config", metavar="YAML", help="all of this and captions (README)")
    paper.add_argument("--rename", metavar="OLD=NEW", action="append", help="a row or a method")
    paper.add_argument("--order", metavar="A,B", help="rows or methods; the others follow")
    paper.add_argument("--digits", type=int, help="of scores [1]")
    paper.add_argument("--transpose", action="store_true", help="tasks as rows")
    return parser.parse_args()


def main() -> None:
    """Run the verb."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    chosen = parse_arguments()
    if chosen.samples is not None and chosen.samples < 1:
        sys.exit(f"dec2vec report: --samples is {chosen.samples}; it is 1 or more")
    if lacking := [folder for folder in chosen.runs if not Path(folder).is_dir()]:
        sys.exit(f"dec2vec report: there is no folder {lacking[0]}; give folders of records [runs]")
    refuse_paper_options(chosen)
    out = Path(chosen.paper or chosen.out or Path(chosen.runs[0]) / "report")
    above = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        option = "--paper" if chosen.paper else "--out"
        sys.exit(f"dec2vec report: {out} cannot be written; give another folder: {option} DIR")
    how: dict[str, Any] = {} if chosen.samples is None else {"samples": chosen.samples}
    try:
        if chosen.paper is not None:
            make_paper(chosen, out, how)
            return
        from analysis.report import report  # here, so that --help needs no pandas

        made = report(
            chosen.runs,
            out,
            published=chosen.published,
            tasks=chosen.tasks.split(",") if chosen.tasks else None,
            common=chosen.common,
            base=chosen.base,
            **how,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"dec2vec report: {error}")
    show(made, out)


def refuse_paper_options(chosen: argparse.Namespace) -> None:
    """Exit where an option of a paper is given without one, or a report's folder with one."""
    given = {
        f"--{name.replace('_', '-')}": getattr(chosen, name)
        for name in ("paper_config", "rename", "order", "digits", "transpose")
    }
    if chosen.paper is None and (alone := [k for k, v in given.items() if v not in (None, False)]):
        sys.exit(f"dec2vec report: {alone[0]} is for a paper; add --paper DIR")
    if chosen.paper is not None and chosen.out is not None:
        sys.exit("dec2vec report: give --out DIR or --paper DIR; run it twice to have both")


def make_paper(chosen: argparse.Namespace, out: Path, how: dict[str, Any]) -> None:
    """Write a paper's folder and say what to do with it. Raises ValueError and OSError."""
    from analysis.paper.settings import parse_renames, read_settings
    from analysis.paper.write import write_paper
    from analysis.view import Options

    given: dict[str, Any] = {"rename": parse_renames(chosen.rename or [])}
    if chosen.order:
        given["order"] = [name.strip() for name in chosen.order.split(",")]
    if chosen.digits is not None:
        given["digits"] = chosen.digits
    if chosen.transpose:
        given["transpose"] = True
    options = Options(
        published=chosen.published,
        tasks=chosen.tasks.split(",") if chosen.tasks else None,
        common=chosen.common,
        base=chosen.base,
        **how,
    )
    files = write_paper(chosen.runs, out, read_settings(chosen.paper_config, given), options)
    print(f"{len(files)} files in {out}")
    print(f"cd {shlex.quote(str(out))} && pdflatex main && bibtex main && pdflatex main (twice)")


def show(made: Sequence[Section], out: Path) -> None:
    """Print each section's first two tables, and where the rest is."""
    for section in made:
        print(f"# {section.name}\n")
        for table in section.tables[:2]:
            print(table.to_markdown())
        names = dict.fromkeys(shown.name for shown in (*section.tables, *section.figures))
        print(f"{out / section.name}: {', '.join(names)}\n")
    print(f"{out / 'report.html'}: all of it, to be opened in a browser")


if __name__ == "__main__":
    main()
