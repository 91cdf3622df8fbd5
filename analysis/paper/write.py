"""Write a paper's folder, which compiles alone.

main.tex                           all of it, with a title
SECTION/TABLE.tex .md .csv         a table; SECTION/FIGURE.pdf .png a figure
appendix.tex, checklist.tex        from the records
methods.bib                        the papers of the methods and measures that were used
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.comparison import compare
from analysis.naming import Naming, list_names
from analysis.paper.appendix import write_appendix
from analysis.paper.checklist import write_checklist
from analysis.paper.evidence import Evidence
from analysis.paper.facts import write_bibliography
from analysis.paper.latex import MAIN, fit_width, include_figure
from analysis.paper.settings import PaperSettings
from analysis.records.results import keep_tasks, load_results
from analysis.render.figure import Drawing
from analysis.render.table import Table, escape
from analysis.report import make_sections
from analysis.section import Section
from analysis.view import Options

MAX_COLUMNS = 14  # that fit a page
log = logging.getLogger(__name__)
ALWAYS_CITED = ("mteb", "lora", "bitfit", "green_algorithms", "geometry", "whitening", "palm")


def write_paper(
    runs: Sequence[str | Path], out: Path, settings: PaperSettings, options: Options
) -> list[Path]:
    """Read records, write the folder and return the files.

    options: those of a report; their naming is that of the settings. Raises ValueError for a name
    of a row, table or figure that there is not, with the valid ones.
    """
    frame = load_results(runs, published=options.published)
    if options.tasks is not None:
        frame = keep_tasks(frame, options.tasks)
    _refuse_unknown_rows(frame, settings.naming)
    base = settings.rename.get(options.base, options.base) if options.base else None
    options = replace(options, naming=settings.naming, brief=True, base=base)
    sections = [_arrange(section, settings) for section in make_sections(frame, options)]
    _refuse_unknown_names(sections, settings)
    sections = [_choose(section, settings.only) for section in sections]
    evidence = Evidence(sections)
    out.mkdir(parents=True, exist_ok=True)
    files = [file for section in sections for file in _write_section(section, out)]
    texts = {
        "appendix.tex": write_appendix(evidence, settings),
        "checklist.tex": write_checklist(evidence, settings),
        "methods.bib": write_bibliography(_list_cited(evidence)),
        "main.tex": MAIN % {"title": escape(settings.title), "body": _write_body(sections)},
    }
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")
        files.append(out / name)
    return files


def _refuse_unknown_rows(frame: pd.DataFrame, naming: Naming) -> None:
    """Raise ValueError for a row to rename or order that no section has, before anything is
    computed. Rows are named within a section, and with and without other people's rows."""
    if not (naming.rename or naming.order):
        return
    ours, known = frame[frame["source"] == "run"], []
    parts = [part for _, part in ours.groupby("reports")]
    parts += [part for _, part in ours.groupby("runs")]
    for part in [*parts, ours, frame]:
        if len(part):
            known += list_names(compare(part).frame)
    naming.refuse_unknown(sorted(set(known)))


def _arrange(section: Section, settings: PaperSettings) -> Section:
    """Return a section with its tables' digits, orientation and captions as the author wants."""
    tables = []
    for table in section.tables:
        changes: dict[str, Any] = {}
        if settings.digits is not None:
            changes["other_digits"] = settings.digits
        if table.name in settings.transpose:
            changes["transposed"] = _can_turn(section, table, settings)
        if (caption := _find_caption(section, table.name, settings)) is not None:
            changes["caption"] = caption
        tables.append(replace(table, **changes))
    figures = [
        replace(one, caption=_find_caption(section, one.name, settings) or one.caption)
        for one in section.figures
    ]
    return replace(section, tables=tables, figures=figures)


def _can_turn(section: Section, table: Table, settings: PaperSettings) -> bool:
    """Return whether a table's rows fit as columns, or the author named this very table."""
    number = len(table.values)
    if number <= MAX_COLUMNS or not settings.turns_all:
        return True
    log.warning(
        "%s/%s keeps its orientation: its %d rows are too many for columns; transpose: [%s] in the "
        "paper's YAML turns it all the same",
        *(section.name, table.name, number, table.name),
    )
    return False


def _find_caption(section: Section, name: str, settings: PaperSettings) -> str | None:
    whole = settings.captions.get(f"{section.name}/{name}")
    return whole if whole is not None else settings.captions.get(name)


def _refuse_unknown_names(sections: Sequence[Section], settings: PaperSettings) -> None:
    """Raise ValueError for a table or figure that there is not."""
    tables = {(one.name, table.name) for one in sections for table in one.tables}
    every = tables | {(one.name, figure.name) for one in sections for figure in one.figures}
    names = {name for _, name in every} | {f"{section}/{name}" for section, name in every}
    for key, wanted in {"only": settings.only, "captions": settings.captions}.items():
        if unknown := [name for name in wanted if name not in names]:
            raise ValueError(
                f"{key}: there is no {', '.join(unknown)}; valid: {', '.join(sorted(names))}"
            )
    turned = {name for _, name in tables}
    if settings.transpose and not turned & set(settings.transpose):
        raise ValueError(
            f"transpose: there is no table {', '.join(settings.transpose)}; "
            f"valid: {', '.join(sorted(turned))}"
        )


def _choose(section: Section, only: Sequence[str]) -> Section:
    """Return a section with some of its tables and figures; with all where none is named."""
    if not only:
        return section

    def keep(one: Table | Drawing) -> bool:
        return one.name in only or f"{section.name}/{one.name}" in only

    tables = [table for table in section.tables if keep(table)]
    return replace(section, tables=tables, figures=[one for one in section.figures if keep(one)])


def _write_section(section: Section, out: Path) -> Iterator[Path]:
    """Write tables and figures, and yield the files."""
    folder = out / section.name
    for table in section.tables:
        files = table.write(folder)
        latex = folder / f"{table.name}.tex"
        latex.write_text(fit_width(table.to_latex()), encoding="utf-8")
        yield from files
    for drawing in section.figures:
        yield from drawing.write(folder)


def _write_body(sections: Sequence[Section]) -> str:
    parts = []
    for section in sections:
        if not (section.tables or section.figures):
            continue
        parts.append(f"\\section{{{escape(section.name.replace('_', ' '))}}}\n\\suppressfloats[t]")
        parts += [f"\\input{{{section.name}/{table.name}}}" for table in section.tables]
        for one in section.figures:
            path = f"{section.name}/{one.name}.pdf"
            parts.append(include_figure(path, one.caption, f"{section.name}-{one.name}"))
        parts.append("\\clearpage")
    return "\n".join(parts)


def _list_cited(evidence: Evidence) -> set[str]:
    """Return the keys of the papers of all methods, poolings and measures that were used."""
    poolers = set(evidence.cells["pooler"].dropna())
    post = " ".join(evidence.cells["post"].dropna().astype(str))
    own = {"matryoshka"} if "dims" in post else set()
    return {*evidence.cells["method"], *poolers, *own, *ALWAYS_CITED}
