"""Records -> a folder of tables and figures, and one page that shows them all.

    <out>/<section>/<table>.md .tex .csv, <figure>.pdf .png      and      <out>/report.html

A section holds what was run for one report (`report: layers` in an experiment's YAML), or, of what
was run for none, one runs folder. Which tables and figures a section has is in REPORTS; those that
its rows do not allow (no layers, no examples) are left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import figures
from analysis.comparison import Comparison, compare
from analysis.gains import gains_table, genre_table, poolings_table
from analysis.measures import cost_table, geometry_table
from analysis.page import page
from analysis.results import inconsistencies, keep_tasks, load_results
from analysis.statistics import SAMPLES
from analysis.style import write
from analysis.table import Table
from analysis.tables import (
    difference_table,
    sts_table,
    task_table,
    trained_table,
    type_table,
)
from analysis.variants import attention_x_pooling_table, layer_table, template_table

log = logging.getLogger(__name__)

MakeTable = Callable[[Comparison], Table | None]
MakeFigure = Callable[[Comparison], Figure | None]

FIGURES: dict[str, tuple[MakeFigure, str]] = {
    "types": (figures.type_bars, "Scores by task type, with 95 % intervals over examples."),
    "critical_difference": (
        figures.critical_difference,
        "Average ranks over tasks; a bar joins what Nemenyi's test does not tell apart.",
    ),
    "cost": (figures.price, "Average score against what reading costs; the line: Pareto front."),
    "similarities": (
        figures.similarities,
        "Similarities of STS pairs that people rate above 0.8 of the scale, and below 0.2.",
    ),
    "geometry": (figures.spaces, "The embedding space: anisotropy, effective rank, whitening."),
    "attention_x_pooling": (
        figures.heatmap,
        "Average score by attention and pooling; framed: the method's own default.",
    ),
    "layers": (figures.layer_curves, "Average score by the layer that is pooled."),
    "templates": (figures.variants, "Average score by template, with 95 % intervals."),
}
MAIN: tuple[tuple[MakeTable, ...], tuple[str, ...]] = (
    (
        type_table,
        task_table,
        sts_table,
        difference_table,
        trained_table,
        cost_table,
        geometry_table,
    ),
    ("types", "critical_difference", "cost", "similarities", "geometry"),
)
RACE: tuple[tuple[MakeTable, ...], tuple[str, ...]] = (
    (gains_table, genre_table, task_table, difference_table),
    ("types",),
)
REPORTS = {
    "sts": MAIN,
    "main_table": MAIN,
    "attention_x_pooling": ((attention_x_pooling_table,), ("attention_x_pooling",)),
    "layers": ((layer_table,), ("layers",)),
    "templates": ((template_table,), ("templates",)),
    "trained": RACE,
    "fair_supervised": RACE,
    "fair_unsupervised": RACE,
    "pooling_and_attention": ((poolings_table, gains_table, task_table), ("types",)),
}
# What was run for no report may be anything: all that its rows allow.
EVERYTHING = (
    (*MAIN[0], attention_x_pooling_table, layer_table, template_table),
    (*MAIN[1], "attention_x_pooling", "layers"),
)


@dataclass(frozen=True)
class Section:
    """Rows that belong together, and what is made of them."""

    name: str
    found: Comparison
    tables: list[Table]
    figures: dict[str, Figure]
    warnings: list[str]


def report(
    runs: Sequence[str | Path],
    out: Path,
    *,
    published: str | Path | None = None,
    tasks: Sequence[str] | None = None,
    common: bool = False,
    base: str | None = None,
    samples: int = SAMPLES,
) -> list[Section]:
    """Read records, write everything under `out`; the sections.

    tasks: only these. common: only the tasks that all rows of a section have. base: the row that
    differences are to. samples: of the bootstrap. Raises ValueError for what cannot be shown.
    """
    frame = load_results(runs, published=published)
    unread = frame.attrs["unread"]
    if tasks is not None:
        frame = keep_tasks(frame, tasks)
    made = sections(frame, common=common, base=base, samples=samples)
    pictures: dict[tuple[str, str], bytes] = {}
    for section in made:
        for table in section.tables:
            table.write(out / section.name)
        for name, figure in section.figures.items():
            written = write(figure, out / section.name, name)
            pictures[section.name, name] = written[1].read_bytes()
    said = {name: about for name, (_, about) in FIGURES.items()}
    out.mkdir(parents=True, exist_ok=True)
    text = page(frame, made, pictures, said, unread=unread)
    (out / "report.html").write_text(text, encoding="utf-8")
    return made


def sections(
    frame: pd.DataFrame, *, common: bool = False, base: str | None = None, samples: int = SAMPLES
) -> list[Section]:
    """A frame by report or runs folder. Other people's results stand in the main tables, published
    scores in `trained` alone.

    Raises ValueError if no section has the base, or a task that all its rows have.
    """
    ours, theirs = frame[frame["source"] == "run"], frame[frame["source"] != "run"]
    made, refused = [], []
    for name, (asked, part) in _parts(ours).items():
        tables, pictures = REPORTS.get(asked, EVERYTHING)
        others = theirs[theirs["task"].isin(part["task"])]
        beside = others[others["source"] == "mteb"] if tables[0] is type_table else others[:0]
        try:
            found = _compare(part, beside, common=common, samples=samples)
            every = found  # what was trained stands beside published scores too
            if len(others) > len(beside):
                every = _compare(part, others, common=common, samples=samples)
            shown = []
            for make in tables:
                if make is difference_table:
                    shown.append(difference_table(found, base=base))
                else:
                    shown.append(make(every if make is trained_table else found))
        except ValueError as error:
            refused.append(f"{name}: {error}")
            continue
        drawn = {picture: FIGURES[picture][0](found) for picture in pictures}
        made.append(
            Section(
                name,
                found,
                [replace(table, section=f"{name}-") for table in shown if table is not None],
                {picture: figure for picture, figure in drawn.items() if figure is not None},
                inconsistencies(every.frame),
            )
        )
    if not len(ours):
        found = compare(frame, common=common, samples=samples)
        tables = [type_table(found), task_table(found)]
        made = [Section("results", found, tables, {}, inconsistencies(found.frame))]
    if not made:
        raise ValueError("; ".join(refused))
    for line in refused:
        log.warning("no section %s", line)
    return made


def _compare(ours: pd.DataFrame, theirs: pd.DataFrame, **how: Any) -> Comparison:
    return compare(pd.concat([ours, theirs]) if len(theirs) else ours, **how)


def _parts(ours: pd.DataFrame) -> dict[str, tuple[str, pd.DataFrame]]:
    """Sections by name: which report is asked for ("": all of it), and the rows."""
    asked = [set(REPORTS).intersection(str(text).split(", ")) for text in ours["reports"]]
    found: dict[str, tuple[str, pd.DataFrame]] = {}
    for name in REPORTS:
        if any(name in own for own in asked):
            found[name] = (name, ours[[name in own for own in asked]])
    for runs, part in ours[[not own for own in asked]].groupby("runs") if len(ours) else ():
        name = re.sub(r"[^\w.-]", "_", str(runs))
        while name in (*found, "failures", "overview"):  # ids of the page
            name += "_"
        found[name] = ("", part)
    return found
