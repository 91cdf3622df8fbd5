"""Records as dec2vec evaluate leaves them, made for a test; and views made of them, by name."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison import Comparison
from analysis.render.table import Table
from analysis.section import load_view
from analysis.view import Options

ENTRY = {"splits": ["test"], "subsets": ["default"], "data": "d", "main_score": "m", "tokens": 10}


def cell(root, method, scores, *, options=None, model="org/small", dtype="bfloat16", **more):
    """A cell's folder as dec2vec evaluate leaves it; scores: task -> (type, score or status).

    A list of scores is one score an example: they are kept, and their mean is the score.
    """
    number = len(list(root.rglob("run.json")))
    folder = root / "results" / model.replace("/", "__") / "rev" / "experiments" / f"{number:03}"
    (folder / "record" / "examples").mkdir(parents=True)
    tasks = {}
    for task, (type_, score, *error) in scores.items():
        if isinstance(score, str):
            tasks[task] = {"status": score, "error": f"{task} is {score}", "type": type_}
            continue
        tasks[task] = {**ENTRY, "status": "done", "type": type_, **more.get("entry", {})}
        if isinstance(score, list):
            kept = pd.DataFrame({"split": "test", "subset": "default", "value": score})
            kept.insert(2, "example", range(len(score)))
            kept.to_csv(folder / "record" / "examples" / f"{task}.csv.gz", index=False)
            tasks[task]["examples"] = {"statistic": "mean", "unit": "text", "count": len(score)}
            score = sum(score) / len(score)
        one = {"hf_subset": "default", "main_score": score}
        one |= {"main_score_error": error[0]} if error else {}
        result = {"dataset_revision": "r1", "scores": {"test": [one]}}
        (folder / f"{task}.json").write_text(json.dumps(result))
    about = {
        "model": model,
        "revision": "rev",
        "adapters": [],
        "method": method,
        "options": options or {},
        "default": {"attention": "causal", "pooling": "last", "layer": -1},
        "attention": "causal",
        "pooling": "last",
        "layer": -1,
        "dtype": dtype,
        "instructions": None,
        "digest": "0",
        "commit": "abc",
        "command": f"dec2vec evaluate method={method} tasks=sts",
        "tasks": tasks,
    }
    more.pop("entry", None)
    (folder / "record" / "run.json").write_text(json.dumps(about | more))
    return folder


def examples(number, right):
    return [1.0] * round(number * right) + [0.0] * round(number * (1 - right))


def tabulate(view: str, comparison: Comparison, **options: Any) -> Table:
    """The table of a view, which the rows allow."""
    table = maybe_tabulate(view, comparison, **options)
    assert table is not None
    return table


def maybe_tabulate(view: str, comparison: Comparison, **options: Any) -> Table | None:
    make = load_view(view).table
    assert make is not None
    return make(comparison, Options(**options))


def draw(view: str, comparison: Comparison) -> Figure | None:
    """The figure of a view, if the rows allow it."""
    make = load_view(view).figure
    assert make is not None
    return make(comparison, Options())
