"""What pooling and attention change when all is trained alike (arXiv 2409.02727)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.baselines import find_trained, star_significant
from analysis.caption import INTERVALS, SIGNIFICANT, write_caption
from analysis.comparison import Comparison
from analysis.labels import order_attentions
from analysis.render.table import Table, fill
from analysis.view import Options, View


def tabulate_trained_poolings(comparison: Comparison, options: Options) -> Table | None:
    """Return poolings x attentions: averages over tasks, and the difference to the last token under
    causal attention. None where no pooling was trained."""
    rows = find_trained(comparison)
    rows = rows.assign(pooler=rows["pooler"].fillna(""))
    if rows["pooler"].nunique() < 2:
        return None
    keys = _arrange_poolings(rows)
    columns = order_attentions(attention for own in keys.values() for attention in own)
    index = pd.Index(list(keys))
    values, notes = fill(index, columns), fill(index, columns, "")
    means, drawn = comparison.mean(comparison.ranked), comparison.resample(comparison.ranked)
    p_values: dict[tuple[Any, str], float] = {}
    for name, own in keys.items():
        base = keys.get(f"{name.split(': ')[0]}: last", {}).get("causal")
        for column, key in own.items():
            values.loc[name, column] = means[key]
            if key == base:
                notes.loc[name, column] = " (=)"
            elif (
                base is not None and drawn is not None and {key, base} <= set(drawn.estimate.index)
            ):
                one = drawn.subtract(key, base)
                notes.loc[name, column] = f" ({one.estimate:+.1f} [{one.low:.1f}, {one.high:.1f}])"
                p_values[name, column] = one.p_value
    star_significant(notes, p_values)
    caption = write_caption(comparison, _describe(comparison, rows), comparison.ranked)
    return Table("pooling_and_attention", values, caption, notes, unranked=columns)


def _arrange_poolings(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return by pooling and attention the key of the row each combination is."""
    keys: dict[str, dict[str, Any]] = {}
    for key, row in rows.sort_values(["method", "pooler", "pooling"]).iterrows():
        name = f"{row['pooler']} over {row['pooling']}" if row["pooler"] else row["pooling"]
        name = f"{row['method']}: {name}"
        if row["attention"] in keys.get(name, {}):  # trained in another way too
            name += f" {key[1]}"  # pyright: ignore[reportIndexIssue]
        keys.setdefault(name, {})[row["attention"]] = key
    return keys


def _describe(comparison: Comparison, rows: pd.DataFrame) -> str:
    tasks = ", ".join(comparison.short[task] for task in comparison.ranked)
    alike = (rows[["trained_on", "steps", "learning_rate"]].nunique() < 2).all()
    about = f"Average over {tasks} by what is pooled and by attention, "
    about += "all trained alike" if alike else "not all trained alike (gains says how)"
    about += "; in parentheses the difference to the last token "
    return about + f"under causal attention. {INTERVALS}, {SIGNIFICANT.format('table')}."


VIEW = View(table=tabulate_trained_poolings)
