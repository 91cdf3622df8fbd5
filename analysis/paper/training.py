"""The appendix's part on training: adapters, hyper-parameters, their search, data and seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from analysis.paper.evidence import Evidence, Training
from analysis.paper.facts import UNKNOWN, Facts, cite
from analysis.paper.latex import allow_breaks, make_grid, set_code
from analysis.render.table import escape

# Settings of a recipe that are no hyper-parameter of the optimisation.
APART = ("steps", "batch_size", "learning_rate", "objective")


def describe_training(evidence: Evidence, facts: Facts) -> str:
    """Return adapters with their hyper-parameters, the search for these, data and seeds."""
    trainings = evidence.trainings
    if not trainings:
        return "Nothing was trained.\n"
    return "\n".join(
        [
            _list_adapters(trainings),
            _list_settings(trainings),
            _describe_search(trainings),
            _list_data(trainings, facts),
        ]
    )


def _list_adapters(trainings: list[Training]) -> str:
    rows = []
    for one in trainings:
        stated, recipe = one.stated, one.recipe
        rows.append(
            [
                allow_breaks(one.name),
                escape(one.method),
                _get(recipe, "objective"),
                _get(stated, "steps"),
                _get(recipe, "batch_size"),
                _get(stated, "learning_rate"),
                find_seed(one),
                _get(stated, "tokens"),
                _get(stated, "seconds"),
            ]
        )
    heads = "adapter method objective steps batch rate seed tokens seconds".split()
    caption = (
        "Adapters. Seconds are wall time of the training alone. A stack's parents have rows of "
        f"their own. What an evaluation's record does not hold of a training is {UNKNOWN}."
    )
    return make_grid(heads, rows, caption, "L{4.1cm}lL{1.9cm}rrrL{1.5cm}rr")


def find_seed(one: Training) -> str:
    """Return a training's seed, of its record or of its config."""
    seed = one.stated.get("seed")
    seed = (one.config.get("run") or {}).get("seed") if seed is None else seed
    return UNKNOWN if seed is None else str(seed)


def _get(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if value is None:
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1 else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _list_settings(trainings: list[Training]) -> str:
    """Return every other setting of the recipes: what all share once, then what differs."""
    flat = {one.name: dict(_flatten(one.recipe)) for one in trainings if one.recipe}
    if not flat:
        return f"Hyper-parameters beside these are {UNKNOWN}.\n"
    names = sorted({name for own in flat.values() for name in own if name not in APART})
    shared, rows = [], []
    for name in names:
        values: dict[str, list[str]] = {}
        for adapter, own in flat.items():
            values.setdefault(own.get(name, UNKNOWN), []).append(adapter)
        if len(values) == 1:
            shared.append(f"{name}={next(iter(values))}")
            continue
        most = max(values, key=lambda value: len(values[value]))
        rest = [f"{value} in {', '.join(own)}" for value, own in values.items() if value != most]
        rows.append([allow_breaks(name), allow_breaks(f"{most}; " + "; ".join(rest))])
    text = f"All trainings share {allow_breaks(', '.join(shared))}.\n" if shared else ""
    caption = (
        f"Hyper-parameters that differ, of {len(flat)} of {len(trainings)} trainings: the value of "
        f"most, then the others. LoRA{cite('lora')}, BitFit{cite('bitfit')}."
    )
    return text + make_grid(["hyper-parameter", "values"], rows, caption, "lL{12cm}")


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, json.dumps(value).strip('"')


def _describe_search(trainings: list[Training]) -> str:
    """Return how many trainings stand behind each method, the rates that were tried, and what
    chose a checkpoint."""
    rows = []
    for method in sorted({one.method for one in trainings}):
        own = [one for one in trainings if one.method == method]
        stated = (one.stated.get("learning_rate") for one in own)
        rates = sorted({rate for rate in stated if rate is not None})
        chosen = sorted({describe_choice(one) for one in own})
        shown = ", ".join(f"{rate:g}" for rate in rates) or UNKNOWN
        rows.append([escape(method), str(len(own)), shown, escape("; ".join(chosen))])
    caption = (
        "Search budget, as far as these records show it: trainings of each method, the learning "
        "rates among them, and how checkpoints were chosen. Trainings without a record are not "
        "counted."
    )
    heads = ["method", "trainings", "learning rates", "checkpoint"]
    return make_grid(heads, rows, caption, "lrL{4.5cm}L{6cm}")


def describe_choice(one: Training) -> str:
    """Return how a training's checkpoint was chosen."""
    if one.stated.get("best"):
        wanted = ((one.config.get("run") or {}).get("validate") or {}).get("names") or []
        return f"best on validation ({', '.join(wanted)})" if wanted else "best on validation"
    return "the last" if "best" in one.stated else UNKNOWN


def _list_data(trainings: list[Training], facts: Facts) -> str:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in trainings:
        sources = (one.config.get("data") or {}).get("sources") or {}
        for name, about in ((one.stated.get("data") or {}).get("sources") or {}).items():
            entry = found.setdefault((name, str(about.get("sha256"))), {**about, "used": []})
            entry["used"].append(one.name)
            entry["from"] = entry.get("from") or _name_origin(sources.get(name) or {})
    rows = [
        [
            allow_breaks(name),
            escape(about.get("from") or UNKNOWN),
            f"{about.get('rows', 0):,}",
            f"{about.get('dropped', 0):,}",
            set_code(digest),
            allow_breaks(facts.find("data", name, "licence")),
            str(len(about["used"])),
        ]
        for (name, digest), about in sorted(found.items())
    ]
    heads = ["source", "from", "rows", "dropped", "digest", "licence", "trainings"]
    return make_grid(heads, rows, "Training data.", "L{2.6cm}L{3.6cm}rrL{2.6cm}L{2.6cm}r")


def _name_origin(source: Mapping[str, Any]) -> str:
    kinds = {"path": "file", "hub": "Hub", "wheel": "PyPI"}
    return next((f"{kinds[k]}: {source[k]}" for k in kinds if source.get(k)), "")
