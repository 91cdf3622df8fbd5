"""Records -> a folder of tables and figures, and one page that shows them all.

    <out>/<section>/<table>.md .tex .csv, <figure>.pdf .png      and      <out>/report.html

A section holds what was run for one report (`report: layers` in an experiment's YAML), or, of what
was run for none, one runs folder. Which tables and figures a section has is in REPORTS; those that
its rows do not allow (no layers, no examples) are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import figures
from analysis.comparison import Comparison, compare
from analysis.measures import cost_table, geometry_table
from analysis.page import page
from analysis.results import inconsistencies, keep_tasks, load_results
from analysis.statistics import SAMPLES
from analysis.table import Table
from analysis.tables import difference_table, sts_table, task_table, trained_table, type_table
from analysis.variants import attention_x_pooling_table, layer_table, template_table

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
REPORTS = {
    "main_table": MAIN,
    "attention_x_pooling": ((attention_x_pooling_table,), ("attention_x_pooling",)),
    "layers": ((layer_table,), ("layers",)),
    "templates": ((template_table,), ("templates",)),
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
    if tasks is not None:
        frame = keep_tasks(frame, tasks)
    made = sections(frame, common=common, base=base, samples=samples)
    pictures: dict[tuple[str, str], bytes] = {}
    for section in made:
        for table in section.tables:
            table.write(out / section.name)
        for name, figure in section.figures.items():
            written = figures.write(figure, out / section.name, name)
            pictures[section.name, name] = written[1].read_bytes()
    said = {name: about for name, (_, about) in FIGURES.items()}
    out.mkdir(parents=True, exist_ok=True)
    text = page(frame, made, pictures, said, inconsistencies(frame))
    (out / "report.html").write_text(text, encoding="utf-8")
    return made


def sections(
    frame: pd.DataFrame, *, common: bool = False, base: str | None = None, samples: int = SAMPLES
) -> list[Section]:
    """A frame by report or runs folder, each with other people's scores of its tasks."""
    ours = frame[frame["source"] == "run"]
    asked = [set(REPORTS).intersection(str(text).split(", ")) for text in ours["reports"]]
    parts = {name: ours[[name in own for own in asked]] for name in REPORTS}
    parts = {name: part for name, part in parts.items() if len(part)}
    for runs, part in ours[[not own for own in asked]].groupby("runs"):
        parts[str(runs)] = part
    if not len(ours):
        parts["results"] = frame
    made = []
    for name, part in parts.items():
        theirs = frame[(frame["source"] != "run") & frame["task"].isin(part["task"])]
        rows = pd.concat([part, theirs]) if len(ours) and len(theirs) else part
        found = compare(rows, samples=samples, common=common)
        tables, pictures = REPORTS.get(name, EVERYTHING)
        makers = [partial(make, base=base) if make is difference_table else make for make in tables]
        drawn = {picture: FIGURES[picture][0](found) for picture in pictures}
        made.append(
            Section(
                name,
                found,
                [table for make in makers if (table := make(found)) is not None],
                {picture: figure for picture, figure in drawn.items() if figure is not None},
            )
        )
    return made
