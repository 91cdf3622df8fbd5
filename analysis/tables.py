"""The tables a paper prints, each a function of a comparison. Scores are main scores x 100.

A score that carries its own standard error is printed with it, is not ranked, and is in no average.
† marks rows that a paired bootstrap over examples does not tell from the best of the column (Holm's
correction over the column, 0.05); * a difference whose corrected p-value is below 0.05.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import KEY, SEVEN_STS, Comparison, ordered, short
from analysis.statistics import friedman, holm, wilcoxon
from analysis.table import Table

LEVEL = " † not told from the best of its column by a paired bootstrap over examples (Holm, 0.05)"
INTERVALS = "95 % intervals in brackets: paired bootstrap over examples"


def task_table(found: Comparison) -> Table:
    """Rows x tasks, grouped by type, each type of several tasks followed by its average."""
    groups: dict[str, list[str]] = {}
    for type_ in ordered(found.types):
        groups |= {short(t): [t] for t in found.tasks if found.types[t] == type_}
        if len(ranked := found.tasks_of(type_)) > 1:
            groups[f"{type_} avg"] = ranked
    return score_table("tasks", found, groups, "Main scores by task.")


def type_table(found: Comparison) -> Table:
    """Rows x task types, with the average over all tasks whose scores are ranked."""
    groups = {
        type_: found.tasks_of(type_) or [t for t in found.tasks if found.types[t] == type_]
        for type_ in ordered(found.types)
    }
    about = f"Averages of main scores by task type; Average: over {len(found.ranked)} tasks"
    if left := [short(task) for task in found.tasks if task not in found.ranked]:
        about += f" (without {', '.join(left)}, whose standard error is printed)"
    return score_table("types", found, {**groups, "Average": found.ranked}, about + ".")


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
    complete = found.scores[found.ranked].dropna()
    if len(complete) < 2 or not len(found.ranked):
        return None
    chosen: Any = complete.mean(axis=1).idxmax()
    if base is not None:
        names = {" ".join(filter(None, key)): key for key in complete.index}
        if base not in names:
            raise ValueError(f"no row is {base!r}; the complete ones: {', '.join(names)}")
        chosen = names[base]
    groups = {t: tasks for t in ordered(found.types) if (tasks := found.tasks_of(t))}
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
    about = f"Differences to {' '.join(filter(None, chosen))}. {INTERVALS}, "
    about += "* p < 0.05 after Holm's correction over the column"
    if without := [c for c in groups if not (after[c] != "").any()]:
        about += f" (no examples are kept for {', '.join(without)})"
    about += "."
    digits = {}
    if len(found.ranked) > 4:  # with fewer tasks the test cannot reach 0.05
        others = [key for key in complete.index if key != chosen]
        p_values = holm({key: wilcoxon(complete.loc[key], complete.loc[chosen]) for key in others})
        values["Wilcoxon p"] = pd.Series(p_values).reindex(complete.index)
        digits["Wilcoxon p"] = 3
        about += f" Wilcoxon p: signed-rank test over the {len(found.ranked)} tasks, Holm."
    if len(complete) > 2 and len(found.ranked) > 1:
        ranking = friedman(complete.T)
        values["Rank"] = ranking.ranks
        digits["Rank"] = 2
        about += (
            f" Rank: mean over tasks; Friedman p = {ranking.p_value:.2g}, ranks differ from "
            f"{ranking.critical_difference:.2f} apart (Nemenyi, α = {ranking.alpha})."
        )
    after = after.reindex(columns=values.columns, fill_value="")
    unranked = list(values.columns)
    return Table("differences", values, found.caption(about), after, unranked, digits)


def trained_table(found: Comparison) -> Table | None:
    """Rows x tasks for what was trained, beside zero-shot and published scores of the tasks."""
    source, adapters = found.rows["source"], found.rows["adapters"].fillna("")
    if not ((source != "run") | (adapters != "")).any():
        return None
    kind = np.where(source != "run", 2, np.where(adapters != "", 1, 0))
    names = ["zero-shot", "trained", "other's"]
    groups = {**{short(task): [task] for task in found.tasks}, "Average": found.ranked}
    about = "Zero-shot, trained, and other people's scores. Other people's are as they state them; "
    about += "‡ of another revision of the data than ours."
    table = score_table("trained", found, groups, about)
    assert table.after is not None
    after = table.after.copy()
    frame = found.frame
    ours: Any = frame[frame["source"] == "run"].groupby("task")["dataset_revision"].agg(set)
    for row in frame[frame["source"] != "run"].itertuples():
        if row.task in ours and row.dataset_revision not in ours[row.task]:
            after.loc[[(row.label, row.setting)], short(str(row.task))] = " ‡"
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
    *,
    level: bool = True,
) -> Table:
    """Columns of scores or averages over tasks, with errors and marks."""
    values, after = blank(found.scores.index, groups), blank(found.scores.index, groups, "")
    unranked, marked = [], False
    for column, tasks in groups.items():
        values[column] = found.mean(tasks)
        errors = found.errors[list(tasks)].mean(axis=1)
        if errors.notna().any():
            unranked.append(column)
            after[column] = [f" ± {e:.1f}" if e == e else "" for e in errors]
        elif level and (same := found.level_with_best(tasks)):
            after.loc[after.index.isin(same), column] = " †"
            marked = True
    caption = found.caption(about + (LEVEL + "." if marked else ""))
    return Table(name, values, caption, after, unranked)


def blank(index: pd.Index, columns: Any, value: Any = np.nan) -> pd.DataFrame:
    return pd.DataFrame(value, index=index, columns=list(columns))
