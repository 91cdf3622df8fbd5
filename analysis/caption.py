"""Write a table's caption: what it shows, of which models and tasks, and how to rebuild it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.comparison import Comparison
from analysis.labels import KEY, join_unique

# Phrases that captions share.
NOT_SIGNIFICANT = (
    " † not significantly different from the best that kept examples (paired bootstrap, Holm, 0.05)"
)
NOT_TESTED = "; not tested: {}"
INTERVALS = "95 % intervals in brackets: paired bootstrap over examples"
SIGNIFICANT = "* p < 0.05 after Holm's correction over the {}"
MAX_MISSING = 6  # missing scores that a caption lists


def write_caption(comparison: Comparison, about: str, tasks: Sequence[str] | None = None) -> str:
    """Return a caption: what is shown, and what a reader must know of the rows and tasks.

    tasks: those whose missing scores are explained; None: all.
    """
    ours = _select_ours(comparison.frame)
    text = about
    if len(ours) and not comparison.brief:
        text += f" Models: {join_unique(ours, 'model')}; {join_unique(ours, 'dtype')}; "
        text += f"commit {join_unique(ours, 'commit')}."
    if comparison.common is not None:
        text += f" Over the {len(comparison.common)} tasks that all rows have: "
        text += f"{', '.join(comparison.common)}."
    if splits := _name_splits(comparison):
        text += f" Of what was scored on several splits, shown is: {splits}."
    if missing := _list_missing_scores(comparison, comparison.tasks if tasks is None else tasks):
        text += f" A dash is a score that is not there: {'; '.join(missing[:MAX_MISSING])}"
        left = len(missing) - MAX_MISSING
        text += f" and {left} more." if left > 0 else "."
    if not comparison.brief and (command := join_commands(ours)):
        text += f" Made by: {command}"
    return text


def join_commands(frame: pd.DataFrame) -> str:
    """Return one command that reproduces all rows, where there is one.

    Commands that are no product of their values are named by their experiment and number (where
    records have no schema number, by the first, and how many more).
    """
    commands = list(frame["command"].dropna().unique())
    if not commands:
        return ""
    verbs, given = _parse_commands(commands)
    values = {key: sorted(set(own)) for key, own in given.items()}
    whole = all(len(own) == len(commands) for own in given.values())
    crossed = math.prod(map(len, values.values())) == len(commands)
    if given and whole and crossed and len(verbs) == 1:
        sweep = "-m " if any(len(own) > 1 for own in values.values()) else ""
        words = [_format_word(key, ",".join(own)) for key, own in values.items()]
        return f"dec2vec {verbs.pop()} {sweep}{' '.join(words)}"
    schemas = frame["schema"] if "schema" in frame else pd.Series([0])
    if len(commands) > 1 and schemas.ge(1).all():  # older tables stay as they are
        experiment = values.get("experiment", [])
        several = f"{len(commands)} commands, listed in report.html"
        return f"experiment={experiment[0]} ({several})" if len(experiment) == 1 else several
    return commands[0] + (f" (and {len(commands) - 1} more)" if len(commands) > 1 else "")


def _parse_commands(commands: Sequence[str]) -> tuple[set[str], dict[str, list[str]]]:
    """Return the verbs and the values by key; no values where a quote never closes."""
    verbs: set[str] = set()
    given: dict[str, list[str]] = {}
    try:
        for text in commands:
            words = iter(shlex.split(text)[1:])
            verbs.add(next(words))
            for word in words:
                key, equals, value = word.partition("=")
                if word.startswith("--") and not equals:  # an option's value is a word of its own
                    value = next(words, "")
                given.setdefault(key, []).append(value)
    except ValueError:
        return verbs, {}
    return verbs, given


def _format_word(key: str, value: str) -> str:
    if key.startswith("--"):
        return f"{key} {shlex.quote(value)}"
    return shlex.quote(f"{key}={value}")


def _select_ours(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["source"] == "run"]


def _name_splits(comparison: Comparison) -> str:
    """Return which splits are shown of the tasks that were scored on several."""
    ours = _select_ours(comparison.frame)
    old = len(ours) and ours["schema"].eq(0).all()  # older captions do not name the test split
    by_split: dict[str, list[str]] = {}
    for task, splits in comparison.splits.items():
        if old and splits == ["test"]:
            continue
        text = splits[0] if len(splits) == 1 else f"the mean of {' and '.join(splits)}"
        by_split.setdefault(text, []).append(comparison.short.get(task, task))
    return "; ".join(f"{text} ({', '.join(tasks)})" for text, tasks in by_split.items())


def _list_missing_scores(comparison: Comparison, tasks: Sequence[str]) -> list[str]:
    """Return the missing scores and why: of our rows, or of all where there are none of ours."""
    ours = _select_ours(comparison.frame)
    frame = ours if len(ours) else comparison.frame
    reasons = _find_reasons(frame)
    scores = comparison.scores
    rows = scores[scores.index.isin(pd.MultiIndex.from_frame(frame[KEY]))]
    missing = [(*key, task) for task in tasks for key in rows.index[rows[task].isna()]]
    return sorted(f"{k[0]} on {k[2]} ({reasons.get(k, 'not run')})" for k in missing)


def _find_reasons(frame: pd.DataFrame) -> dict[Any, str]:
    """Return why a score is missing or partial, by row and task: the first of several reasons."""
    state = frame["status"].where(frame["status"] != "done", "in part")
    state = state.mask(state.eq("in part") & frame["score"].isna(), "undefined")
    last = frame.assign(state=state, last=state.eq("in part")).sort_values("last", kind="stable")
    return last.drop_duplicates([*KEY, "task"]).set_index([*KEY, "task"])["state"].to_dict()
