"""The tables a paper prints, each a function of a comparison. Scores are main scores x 100.

A score that carries its own standard error is printed with it, is not ranked, and is in no average.
† marks rows that are not significantly different from the best of the column (paired bootstrap
over examples, Holm's correction over the column, 0.05); * a difference whose corrected p-value is
below 0.05.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import SEVEN_STS, Comparison
from analysis.names import KEY, ordered
from analysis.statistics import holm, wilcoxon
from analysis.table import Table

NOT_SIGNIFICANT = (
    " † not significantly different from the best that kept examples (paired bootstrap, Holm, 0.05)"
)
NOT_TESTED = "; not tested: {}"
INTERVALS = "95 % intervals in brackets: paired bootstrap over examples"


def task_table(found: Comparison) -> Table:
    """Rows x tasks, grouped by type, each type of several tasks followed by its average."""
    groups: dict[str, list[str]] = {}
    for type_ in ordered(found.types):
        groups |= {found.short[t]: [t] for t in found.tasks if found.types[t] == type_}
        if len(ranked := found.tasks_of(type_)) > 1:
            groups[f"{type_} avg"] = ranked
    return score_table("tasks", found, groups, "Main scores by task.")


def type_table(found: Comparison) -> Table:
    """Rows x task types, with the average over all tasks whose scores are ranked."""
    groups = {
        type_: found.tasks_of(type_) or [t for t in found.tasks if found.types[t] == type_]
        for type_ in ordered(found.types)
    }
    about = f"Averages of main scores by task type, over {len(found.ranked)} tasks"
    if left := [found.short[task] for task in found.tasks if task not in found.ranked]:
        about += f" (without {', '.join(left)}, whose standard error is printed)"
    if len(groups) > 1:
        groups["Average"] = found.ranked
    return score_table("types", found, groups, about + ".")


def sts_table(found: Comparison) -> Table | None:
    """The seven STS tasks as papers print them; None unless at least two are there."""
    tasks = [task for task in SEVEN_STS if task in found.scores]
    if len(tasks) < 2:
        return None
    names = {"STSBenchmark": "STS-B"}
    groups = {names.get(task, task): [task] for task in tasks}
    about = f"Semantic textual similarity; Avg: over the {len(tasks)} tasks."
    return score_table("sts", found, {**groups, "Avg.": tasks}, about)


def difference_table(found: Comparison, *, base: str | None = None) -> Table | None:
    """Each row minus a base row (the best by average, or the one named) with intervals by type,
    average ranks, and Wilcoxon's test over tasks. None without two complete rows.

    Raises ValueError for a base that is no row.
    """
    complete = found.complete
    if len(complete) < 2 or not len(found.ranked):
        return None
    ours = complete[found.rows.loc[complete.index, "source"] == "run"]
    chosen: Any = (ours if len(ours) else complete).mean(axis=1).idxmax()
    if base is not None:
        names = {found.names[key]: key for key in complete.index}
        if base not in names:
            raise ValueError(f"no row is {base!r}; the complete ones: {', '.join(names)}")
        chosen = names[base]
    groups = {t: tasks for t in ordered(found.types) if (tasks := found.tasks_of(t))}
    if len(groups) > 1:
        groups["Average"] = found.ranked
    values, after = blank(complete.index, groups), blank(complete.index, groups, "")
    for column, tasks in groups.items():
        means = found.mean(tasks)[complete.index]
        values[column] = means - means[chosen]
        differences = found.differences(tasks, chosen)
        p_values = holm({key: difference.p_value for key, difference in differences.items()})
        for key, one in differences.items():
            if key in after.index:
                star = "*" if p_values[key] < 0.05 else ""
                after.loc[[key], column] = f" [{one.low:.1f}, {one.high:.1f}]{star}"
    about = f"Differences to {found.names[chosen]}. {INTERVALS}, "
    about += "* p < 0.05 after Holm's correction over the column"
    if without := [c for c in groups if not (after[c] != "").any()]:
        about += NOT_TESTED.format(", ".join(without))
    about += "."
    if left := [found.names[key] for key in found.scores.index if key not in complete.index]:
        about += f" Left out, since a task is missing: {', '.join(left)}."
    digits = {}
    if len(found.ranked) > 5:  # with fewer tasks the test cannot reach 0.05
        others = [key for key in complete.index if key != chosen]
        p_values = holm({key: wilcoxon(complete.loc[key], complete.loc[chosen]) for key in others})
        values["Wilcoxon p"] = pd.Series(p_values).reindex(complete.index)
        digits["Wilcoxon p"] = 3
        about += f" Wilcoxon p: signed-rank test over the {len(found.ranked)} tasks, Holm."
    if (ranking := found.ranking) is not None:
        values["Rank"] = ranking.ranks
        digits["Rank"] = 2
        about += (
            f" Rank: mean over tasks; Friedman p = {ranking.p_value:.2g}, ranks differ from "
            f"{ranking.critical_difference:.2f} apart (Nemenyi, α = {ranking.alpha})."
        )
    after = after.reindex(columns=values.columns, fill_value="")
    unranked = list(values.columns)
    return Table("differences", values, found.caption(about, []), after, unranked, digits)


def trained_table(found: Comparison) -> Table | None:
    """Rows x tasks for what was trained, beside zero-shot and published scores of the tasks."""
    source, adapters = found.rows["source"], found.rows["adapters"].fillna("")
    if not ((source != "run") | (adapters != "")).any():
        return None
    kind = np.where(source != "run", 2, np.where(adapters != "", 1, 0))
    names = ["zero-shot", "trained", "other's"]
    groups = {**{found.short[task]: [task] for task in found.tasks}, "Average": found.ranked}
    about = "Zero-shot, trained, and other people's scores. Other people's are as they state them; "
    about += "‡ of another revision of the data than ours."
    table = score_table("trained", found, groups, about)
    assert table.after is not None
    after = table.after.copy()
    frame = found.frame
    ours: Any = frame[frame["source"] == "run"].groupby("task")["dataset_revision"].agg(set)
    others: Any = frame[frame["source"] != "run"].itertuples()
    for row in others:
        known = row.task in ours and pd.notna(row.dataset_revision)
        if known and row.dataset_revision not in ours[row.task]:
            after.loc[[(row.label, row.setting)], found.short[str(row.task)]] = " ‡"
    order = np.argsort(kind, kind="stable")
    rows = [(names[kind[i]], *table.values.index[i]) for i in order]
    index = pd.MultiIndex.from_tuples(rows, names=["kind", *KEY])
    values, after = table.values.iloc[order].set_axis(index), after.iloc[order].set_axis(index)
    return Table(table.name, values, table.caption, after, table.unranked)


def score_table(
    name: str,
    found: Comparison,
    groups: Mapping[str, Sequence[str]],
    about: str,
) -> Table:
    """Columns of scores or averages over tasks, with errors and marks."""
    values, after = blank(found.scores.index, groups), blank(found.scores.index, groups, "")
    unranked, tested = [], []
    for column, tasks in groups.items():
        values[column] = found.mean(tasks)
        errors = found.errors[list(tasks)]
        if errors.notna().any(axis=None):
            unranked.append(column)
            joint = np.sqrt((errors**2).sum(axis=1, skipna=False)) / len(tasks)  # independent ones
            after[column] = [f" ± {e:.1f}" if e == e else "" for e in joint]
        elif (same := found.level_with_best(tasks)) is not None:
            after.loc[after.index.isin(same), column] = " †"
            tested.append(column)
    if tested:
        about += NOT_SIGNIFICANT
        if without := [c for c in groups if c not in [*tested, *unranked]]:
            about += NOT_TESTED.format(", ".join(without))
        about += "."
    shown = [task for tasks in groups.values() for task in tasks]
    caption = found.caption(about, list(dict.fromkeys(shown)))
    return Table(name, values, caption, after, unranked)


def blank(index: pd.Index, columns: Any, value: Any = np.nan) -> pd.DataFrame:
    return pd.DataFrame(value, index=index, columns=list(columns))
