"""Write the tables and figures of records into a folder, and one page that shows them all.

    <out>/<section>/<table>.md .tex .csv, <figure>.pdf .png      and      <out>/report.html

A section holds what was run for one report (`report: layers` in an experiment's YAML), or, of what
was run for none, one runs folder. Which views a section has is in analysis/reports.py; those that
its rows do not allow (no layers, no examples) are left out.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from analysis.records.results import keep_tasks, load_results
from analysis.render.html import make_page
from analysis.reports import OTHERS, REPORTS, RUNS_FOLDER, Report
from analysis.section import Section, make_section
from analysis.view import Options

log = logging.getLogger(__name__)


def report(
    runs: Sequence[str | Path],
    out: Path,
    *,
    published: str | Path | None = None,
    tasks: Sequence[str] | None = None,
    common: bool = False,
    base: str | None = None,
    samples: int = Options.samples,
) -> list[Section]:
    """Read records, write everything under `out` and return the sections.

    The other arguments are those of view.Options. Raises ValueError for what cannot be shown.
    """
    options = Options(published=published, tasks=tasks, common=common, base=base, samples=samples)
    frame = load_results(runs, published=options.published)
    warnings = [*frame.attrs["unread"], *find_unknown_reports(frame)]
    if options.tasks is not None:
        frame = keep_tasks(frame, options.tasks)
    sections = make_sections(frame, options)
    for section in sections:
        section.write(out / section.name)
    out.mkdir(parents=True, exist_ok=True)
    page = make_page(frame, sections, warnings=warnings)
    (out / "report.html").write_text(page, encoding="utf-8")
    return sections


def make_sections(frame: pd.DataFrame, options: Options) -> list[Section]:
    """Make the sections of a frame.

    Raises ValueError if none can be made: no section has the base, or a task that all rows have.
    """
    made, refused = [], []
    theirs = frame[frame["source"] != "run"]
    for name, requested, ours in _split_by_report(frame):
        beside = theirs[theirs["task"].isin(ours["task"])] if len(ours) else theirs
        try:
            made.append(make_section(name, requested, ours, beside, options))
        except ValueError as error:
            refused.append(f"{name}: {error}")
    if not made:
        raise ValueError("; ".join(refused))
    for line in refused:
        log.warning("no section %s", line)
    return made


def _split_by_report(frame: pd.DataFrame) -> Iterator[tuple[str, Report, pd.DataFrame]]:
    """Yield each section's name, its report and our rows of it."""
    ours = frame[frame["source"] == "run"]
    if not len(ours):
        yield OTHERS.name, OTHERS, ours
        return
    requested = [set(REPORTS).intersection(_split_names(reports)) for reports in ours["reports"]]
    taken = ["failures", "overview"]  # ids of the page
    for name, named in REPORTS.items():
        if any(name in own for own in requested):
            taken.append(name)
            yield name, named, ours[[name in own for own in requested]]
    for runs, part in ours[[not own for own in requested]].groupby("runs"):
        name = re.sub(r"[^\w.-]", "_", str(runs))
        while name in taken:
            name += "_"
        taken.append(name)
        yield name, RUNS_FOLDER, part


def find_unknown_reports(frame: pd.DataFrame) -> list[str]:
    """Return, and log, which reports records name that do not exist, with the valid ones.

    No error: a record is not edited, and the rows are shown under their runs folder.
    """
    records = frame[frame["source"] == "run"].drop_duplicates("folder")
    names = Counter(name for text in records["reports"] for name in _split_names(text))
    found = [
        f"report: {name} is unknown (in {number} records); valid: {', '.join(REPORTS)}"
        for name, number in sorted(names.items())
        if name not in REPORTS
    ]
    for line in found:
        log.warning("%s", line)
    return found


def _split_names(reports: str) -> list[str]:
    return [name for name in str(reports).split(", ") if name]
