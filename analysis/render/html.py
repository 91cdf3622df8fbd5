"""Sections -> report.html: one file that needs no network. What failed comes first."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.labels import join_unique, label_rows
from analysis.render.figure import Drawing
from analysis.render.table import DASH, Table

if TYPE_CHECKING:
    from analysis.section import Section

TEMPLATE = Path(__file__).with_name("page.html")
# What the page shows of each row of a task, and how it is headed.
TASK_COLUMNS = {
    **{"row": "row", "split": "split", "subset": "subset", "metric": "metric", "score": "score"},
    **{"status": "status", "tokens": "tokens", "tokens_per_second": "tokens/s"},
    **{"seconds": "seconds", "mean_cosine": "mean cosine", "date": "date"},
}
DIGITS = {"score": 2, "mean_cosine": 2, "tokens": 0, "tokens_per_second": 0, "seconds": 1}


def make_page(
    frame: pd.DataFrame, sections: Sequence[Section], *, warnings: Sequence[str] = ()
) -> str:
    """Return the page. warnings: of no single section."""
    parts, contents = [_render_overview(sections)], []
    own = [f"{section.name}: {line}" for section in sections for line in section.warnings]
    if problems := list(_render_problems(frame, [*warnings, *own])):
        parts = [f'<section class="warn" id="failures">{"".join(problems)}</section>', *parts]
        contents.append('<li><a href="#failures">failures and warnings</a></li>')
    contents.append('<li><a href="#overview">what was run</a></li>')
    for section in sections:
        name = escape(section.name)
        contents.append(f'<li><a href="#{name}">{name}</a></li>')
        parts += _render_section(section)
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(contents="".join(contents), body="\n".join(parts))


def _render_section(section: Section) -> Iterator[str]:
    name = escape(section.name)
    yield f'<section id="{name}"><h2>{name}</h2>'
    yield from map(_render_table, section.tables)
    yield from (_render_figure(drawing, name) for drawing in section.figures)
    frame = section.comparison.frame
    yield from ("<h3>Task by task</h3>", *_render_tasks(frame))
    yield "<h3>Row by row: the command and the resolved config</h3>"
    yield from (*_render_cells(frame), "</section>")


def _render_figure(drawing: Drawing, section: str) -> str:
    image = base64.b64encode(drawing.png).decode()
    caption = escape(drawing.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{image}">'
        f"<figcaption>{caption} ({section}/{drawing.name}.pdf)</figcaption></figure>"
    )


def _render_problems(frame: pd.DataFrame, warnings: Sequence[str]) -> Iterator[str]:
    named = label_rows(frame)
    named["row"] = (named["label"] + " " + named["setting"]).str.strip()
    open_ = named[named["status"] != "done"]
    partial = named[(named["status"] == "done") & named["message"].notna()]
    if len(open_):
        yield f"<h2>{len(open_)} scores are missing</h2>"
        rows = [
            [r.row, r.task, r.status, _replace_missing(r.message), _replace_missing(r.command)]
            for r in open_.sort_values(["status", "task", "row"]).itertuples()
        ]
        heads = ["row", "task", "status", "why", "command"]
        yield _render_plain_table(heads, rows, long=(3, 4), name="missing scores")
    notes = [*warnings, *(f"{r.row} on {r.task}: {r.message}" for r in partial.itertuples())]
    if notes:
        yield "<h2>Warnings</h2><ul>"
        yield from (f"<li>{escape(note)}</li>" for note in dict.fromkeys(notes))
        yield "</ul>"


def _render_overview(sections: Sequence[Section]) -> str:
    rows = []
    for section in sections:
        frame = section.comparison.frame
        ours = frame[frame["source"] == "run"]
        done = ours[ours["status"] == "done"].drop_duplicates(["folder", "task"])
        tokens = pd.to_numeric(done["tokens"]).sum()
        seconds = pd.to_numeric(done["seconds"]).sum()
        rows.append(
            [
                *(
                    section.name,
                    len(section.comparison.scores),
                    len(section.comparison.scores.columns),
                ),
                *(join_unique(ours, column) for column in ("model", "dtype", "commit", "date")),
                *(float(tokens), round(float(seconds))),
            ]
        )
    heads = "section rows tasks models dtype commit date tokens seconds".split()
    table = _render_plain_table(heads, rows, long=(3,), name="what was run")
    return f'<section id="overview"><h2>What was run</h2>{table}</section>'


def _render_table(table: Table) -> str:
    texts = table.format_cells("<b>{}</b>", "<u>{}</u>", escape)
    rows = [
        [(row, None), *zip(texts.iloc[place], table.values.iloc[place], strict=True)]
        for place, row in enumerate(map(escape, table.name_rows()))
    ]
    first = table.values.index.names[0] or "label"
    heads = ["row" if first == "label" else str(first), *texts.columns]
    grid = _render_data_table(heads, rows, name=table.name)
    return (
        f"<h3>{escape(table.name.replace('_', ' '))}</h3>{grid}"
        f'<p class="caption">{escape(table.caption)} ({escape(table.name)}.tex, .md, .csv)</p>'
    )


def _render_tasks(frame: pd.DataFrame) -> Iterator[str]:
    named = frame.assign(row=(frame["label"] + " " + frame["setting"]).str.strip())
    for task, group in named.groupby("task"):
        shown = group.sort_values("score", ascending=False)[list(TASK_COLUMNS)]
        shown = shown.assign(score=pd.to_numeric(shown["score"]) * 100)
        rows = [
            [
                _format_cell(value, DIGITS.get(name))
                for name, value in zip(TASK_COLUMNS, row, strict=True)
            ]
            for row in shown.itertuples(index=False)
        ]
        box = _render_data_table(list(TASK_COLUMNS.values()), rows, name=str(task))
        yield f"<details><summary>{escape(str(task))}</summary>{box}</details>"


def _render_cells(frame: pd.DataFrame) -> Iterator[str]:
    ours = frame[frame["source"] == "run"].drop_duplicates("folder")
    for row in ours.itertuples():
        name = escape(f"{row.label} {row.setting}".strip())
        yield (
            f"<details><summary>{name}</summary><pre>{escape(_replace_missing(row.command))}</pre>"
            f"<pre>{escape(str(row.record))}</pre></details>"
        )


def _render_plain_table(
    heads: Sequence[str], rows: Sequence[Sequence[Any]], *, name: str, long: Sequence[int] = ()
) -> str:
    cells = [[_format_cell(value, 0) for value in row] for row in rows]
    return _render_data_table(heads, cells, name=name, long=long)


def _replace_missing(text: Any) -> str:
    return text if isinstance(text, str) else ""


def _format_cell(value: Any, digits: int | None) -> tuple[str, float | None]:
    """Return text and sort value; text sorts as text."""
    if isinstance(value, str):
        return escape(value), None
    if value is None or value != value:
        return DASH, np.nan
    return f"{value:,.{digits or 0}f}", float(value)


def _render_data_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[tuple[str, float | None]]],
    *,
    name: str,
    long: Sequence[int] = (),
) -> str:
    """Return a table to sort and, from seven rows, to filter; a cell is HTML and a sort value."""
    lines = []
    for row in rows:
        cells = []
        for column, (text, value) in enumerate(row):
            if column == 0:
                number = "" if value is None or value != value else f' data-v="{value:.6g}"'
                cells.append(f'<th scope="row"{number}>{text}</th>')
            elif value is None:
                kind = "text long" if column in long else "text"
                cells.append(f'<td class="{kind}">{text}</td>')
            else:
                cells.append(f'<td data-v="{"" if value != value else f"{value:.6g}"}">{text}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    texts = [value is None for _, value in rows[0]] if rows else [False] * len(heads)
    titles = "".join(
        f'<th scope="col"{" class=text" if text else ""}>'
        f'<button type="button">{escape(str(head))}</button></th>'
        for head, text in zip(heads, texts, strict=True)
    )
    label = (
        '<div class="filter"><label>Filter rows <input type="search"></label> '
        '<output aria-live="polite"></output></div>'
    )
    return (
        f'<div class="tablebox">{label if len(rows) > 6 else ""}'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f'<table class="data"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></div>"
    )
