"""The appendix of a paper: what was run, on what, with which settings, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from analysis.caption import join_commands
from analysis.labels import as_text, join_unique
from analysis.paper.energy import estimate_energy
from analysis.paper.evidence import Evidence
from analysis.paper.facts import UNKNOWN, Facts, cite
from analysis.paper.latex import allow_breaks, list_commands, make_grid, set_code
from analysis.paper.settings import PaperSettings
from analysis.paper.training import describe_training
from analysis.render.table import escape

# Fields of a method that the table of methods shows in columns of their own.
AXES = ("class", "attention", "pooling", "layer")


def write_appendix(evidence: Evidence, settings: PaperSettings) -> str:
    """Return appendix.tex."""
    facts = Facts(settings.facts)
    parts: dict[str, Callable[[], str]] = {
        "Models": lambda: describe_models(evidence, facts),
        "Methods": lambda: describe_methods(evidence),
        "Training": lambda: describe_training(evidence, facts),
        "Evaluation data": lambda: describe_tasks(evidence, facts),
        "Hardware and software": lambda: describe_machines(evidence),
        "Cost": lambda: describe_cost(evidence, settings),
        "Commands": lambda: describe_commands(evidence),
    }
    text = [f"\\section{{{name}}}\n{make()}" for name, make in parts.items()]
    return "\n".join(text)


def describe_models(evidence: Evidence, facts: Facts) -> str:
    """Return the models, their weights, size and licence."""
    rows = []
    weights = pd.to_numeric(evidence.frame["linear_weights"]).groupby(evidence.frame["model"]).max()
    for (model, revision), cells in evidence.cells.groupby(["model", "revision"], dropna=False):
        record = evidence.records.get(str(cells["folder"].iloc[0]), {})
        source = ((record.get("config") or {}).get("model") or {}).get("source") or {}
        linear = weights.get(model)
        rows.append(
            [
                allow_breaks(str(model)),
                set_code(str(revision)),
                allow_breaks(_name_source(source)),
                facts.find("models", str(model), "parameters"),
                UNKNOWN if pd.isna(linear) else f"{linear:,.0f}",
                escape(facts.find("models", str(model), "licence")),
            ]
        )
    heads = ["model", "weights", "from", "parameters", "in linear layers", "licence"]
    caption = "Models. Weights are named by the digest of their files, or by their revision."
    return make_grid(heads, rows, caption, "L{3.3cm}L{2.6cm}L{2.4cm}rrL{2.0cm}")


def _name_source(source: Mapping[str, Any]) -> str:
    """Return where a model was loaded from, of the record's config."""
    if packages := source.get("packages"):
        return "PyPI: " + ", ".join(package["requirement"] for package in packages)
    if "id" in source:
        return f"Hugging Face Hub: {source['id']}"
    return str(source["path"]) if "path" in source else UNKNOWN


def describe_methods(evidence: Evidence) -> str:
    """Return the methods with their paper, and every setting of each."""
    rows: dict[str, list[str]] = {}
    for cell in evidence.cells.itertuples():
        config = evidence.records.get(str(cell.folder), {}).get("method_config") or {}
        rest = [f"{key}={value}" for key, value in config.items() if key not in AXES]
        if post := as_text(cell.post):
            rest.append(f"post={post}")
        axes = [str(cell.attention), str(cell.pooling), as_text(cell.layer)]
        rows[str(cell.row)] = [
            allow_breaks(str(cell.row)),
            allow_breaks(str(cell.method)) + cite(str(cell.method)),
            escape(", ".join(axes)),
            escape(as_text(cell.instructions) or "none"),
            escape(str(cell.dtype)),
            allow_breaks("; ".join(rest)) if rest else UNKNOWN,
        ]
    heads = ["row", "method", "attention, pooling, layer", "instructions", "dtype", "settings"]
    caption = "Methods as they were run."
    return make_grid(
        heads, list(rows.values()), caption, "L{2.7cm}L{2.7cm}L{2.2cm}L{1.7cm}L{1.4cm}L{3.9cm}"
    )


def describe_tasks(evidence: Evidence, facts: Facts) -> str:
    """Return each task's data, split, metric, licence and digest."""
    rows = []
    for task, group in evidence.done.groupby("task", sort=False):
        name = str(task)
        parts = group[["split", "subset"]].drop_duplicates().itertuples(index=False, name=None)
        digests = sorted(set(group["data"].dropna().astype(str)))
        rows.append(
            [
                allow_breaks(name),
                escape(as_text(group["type"].iloc[0])),
                escape("; ".join(f"{split} ({subset})" for split, subset in parts)),
                allow_breaks(join_unique(group, "metric") or UNKNOWN),
                allow_breaks(facts.find("tasks", name, "data")),
                allow_breaks(facts.find("tasks", name, "licence")),
                set_code(", ".join(digests)) if digests else UNKNOWN,
            ]
        )
    heads = ["task", "type", "split (subset)", "metric", "data", "licence", "digest"]
    caption = (
        f"Evaluation data{cite('mteb')}. The digest is of every text and label that was evaluated."
    )
    return make_grid(
        heads, rows, caption, "L{2.4cm}L{1.9cm}L{1.7cm}L{2.0cm}L{2.4cm}L{1.6cm}L{2.2cm}"
    )


def describe_machines(evidence: Evidence) -> str:
    """Return machines, devices and versions, each with the number of cells."""
    records = list(evidence.records.values())
    lines = []
    for name in ("machine", "processor", "python", "commit"):
        stated = pd.Series([str(record.get(name) or UNKNOWN) for record in records])
        counts = stated.value_counts().sort_index()
        shown = (f"{allow_breaks(str(value))} ({number})" for value, number in counts.items())
        lines.append([escape(name), "; ".join(shown)])
    for name in ("device", "threads"):
        stated = evidence.done[name].map(as_text).replace("", UNKNOWN)
        counts = stated.value_counts().sort_index()
        shown = (f"{escape(str(value))} ({number})" for value, number in counts.items())
        lines.append([name, "; ".join(shown)])
    packages = sorted({name for record in records for name in record.get("versions") or {}})
    for name in packages:
        found = sorted({(record.get("versions") or {}).get(name, UNKNOWN) for record in records})
        lines.append([escape(name), allow_breaks(", ".join(found))])
    changed = sum(record.get("dirty") is True for record in records)
    caption = (
        f"Hardware and software of {len(records)} cells, in parentheses how many (of device and "
        f"threads: how many scores). In {changed} cells the code had changes that no commit holds."
    )
    return make_grid(["what", "value"], lines, caption, "lL{12.5cm}")


def describe_cost(evidence: Evidence, settings: PaperSettings) -> str:
    """Return seconds, tokens, memory and the estimate of energy by row, and in all."""
    energy, joules = estimate_energy(evidence, settings.watts_per_core)
    runs = evidence.done.drop_duplicates(["folder", "task"])
    names = evidence.cells.set_index("folder")["row"]
    rows, totals = [], {"seconds": 0.0, "tokens": 0.0, "tokens_computed": 0.0}
    by_folder = dict(iter(runs.groupby("folder")))
    for folder in [folder for folder in names.index if folder in by_folder]:
        group = by_folder[folder]
        numbers = {name: pd.to_numeric(group[name]).sum(min_count=1) for name in totals}
        totals = {name: total + (numbers[name] or 0) for name, total in totals.items()}
        spent = joules.get(folder, float("nan"))
        memory = pd.to_numeric(group["peak_memory_mib"]).max()
        shown = [*numbers.values(), memory, spent / 1000]
        rows.append([allow_breaks(names[folder]), *map(_format, shown)])
    rows.append(
        ["\\midrule all", *map(_format, [*totals.values(), float("nan"), energy.joules / 1000])]
    )
    caption = (
        "Cost of evaluation: wall time with scoring, tokens that the texts have and those that "
        "were computed (the others were found in a cache), the process's peak memory, and energy, "
        "which was not measured: it is estimated from the time of the threads in use at "
        f"{settings.watts_per_core:g} W each{cite('green_algorithms')}, without memory and cooling."
    )
    if energy.missing:
        caption += f" {energy.missing} scores have no estimate: their threads are {UNKNOWN}."
    heads = ["row", "seconds", "tokens", "computed", "MiB", "kJ (estimate)"]
    return make_grid(heads, rows, caption, "L{6.5cm}rrrrr")


def _format(number: float) -> str:
    return "--" if pd.isna(number) else f"{number:,.0f}"


def describe_commands(evidence: Evidence) -> str:
    """Return the commands that made each section's rows."""
    parts = []
    for section in evidence.sections:
        frame = section.comparison.frame
        ours = frame[frame["source"] == "run"]
        commands = list(dict.fromkeys(ours["command"].dropna()))
        joined = join_commands(ours)
        if joined.startswith("dec2vec") and " more)" not in joined:
            commands = [joined]
        parts.append(f"\\paragraph{{{escape(section.name)}}}\n{list_commands(commands)}")
    return "\n".join(parts)
