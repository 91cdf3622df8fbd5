"""What does a training's seed change? Means over seeds, with intervals of seeds and examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.caption import write_caption
from analysis.comparison import Comparison
from analysis.labels import as_text, drop_settings
from analysis.render.table import Table, fill
from analysis.seeds import average_seeds, subtract_groups
from analysis.view import Options, View


def tabulate_seeds(comparison: Comparison, options: Options) -> Table | None:
    """Return groups of rows that differ in the seed alone x tasks: means with intervals. None where
    no row was trained under several seeds."""
    groups = group_seeds(comparison)
    if not any(len(keys) > 1 for keys in groups.values()):
        return None
    columns = {comparison.short[task]: [task] for task in comparison.tasks}
    if len(comparison.ranked) > 1:
        columns["Average"] = comparison.ranked
    index = pd.Index(list(groups), name="method")
    values, notes = fill(index, columns), fill(index, columns, "")
    last = list(columns)[-1]
    best = max(groups, key=lambda name: _mean(comparison, columns[last], groups[name]))
    untested = []
    for column, tasks in columns.items():
        scores, drawn = comparison.mean(tasks), comparison.resample(tasks)
        untested += [column] if drawn is None else []
        for name, keys in groups.items():
            one = average_seeds(scores, keys, drawn)
            values.loc[name, column] = one.mean
            notes.loc[name, column] = f" ± {one.margin:.1f}" if one.margin == one.margin else ""
            if column == last:
                values.loc[name, "SD"], values.loc[name, "Seeds"] = one.spread, one.seeds
                values.loc[name, "To best"], margin = subtract_groups(
                    scores, keys, groups[best], drawn
                )
                if name != best and margin == margin:
                    notes.loc[name, "To best"] = f" ± {margin:.1f}"
    about = (
        "Means over the seeds of a training; ± is half of the 95 % interval, of seeds (t) and of "
        f"examples (paired bootstrap). SD: of single seeds, in {last}; To best: difference to "
        f"{best} there. A row of one seed has no interval"
    )
    about += f"; of seeds alone: {', '.join(untested)}." if untested else "."
    notes = notes.reindex(columns=values.columns, fill_value="").fillna("")
    caption = write_caption(comparison, about, [])
    return Table("seeds", values, caption, notes, ["SD", "Seeds", "To best"], {"Seeds": 0})


def group_seeds(comparison: Comparison) -> dict[str, list[Any]]:
    """Return the rows of each trained group, by its name: those alike but for the seed."""
    rows = comparison.rows[comparison.rows["seed"].notna()]
    found: dict[str, list[Any]] = {}
    for key, seed in rows["seed"].items():
        name = drop_settings(key, [f"seed {as_text(seed)}"])
        found.setdefault(name, []).append(key)
    return found


def _mean(comparison: Comparison, tasks: Sequence[str], keys: Sequence[Any]) -> float:
    mean = comparison.mean(tasks)[list(keys)].mean()
    return -1e9 if pd.isna(mean) else float(mean)


VIEW = View(table=tabulate_seeds)
