"""What one axis changes: attention and pooling, layers, templates. Each variant stands with its
difference to its method's own default, from the same records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import Comparison
from analysis.statistics import holm
from analysis.table import Table
from analysis.tables import blank

COMBINATIONS = [
    (attention, pooling)
    for attention in ("causal", "bidirectional")
    for pooling in ("last", "mean", "weighted_mean")
]


def attention_x_pooling(found: Comparison) -> pd.DataFrame | None:
    """Methods x (attention, pooling): the key of the row each combination is; None if no method
    has more than one. Of the other axes only the method's defaults are shown."""
    rows = found.rows[found.rows["source"] == "run"]
    plain = rows["layer"].eq(-1) & rows["options"].fillna("").eq("")
    keys: dict[str, dict[Any, Any]] = {}
    for key, row in rows[plain].iterrows():
        pair = (row["attention"], row["pooling"])
        keys.setdefault(_without(key, pair), {})[pair] = key
    if max(map(len, keys.values()), default=0) < 2:
        return None
    names = sorted(keys)
    cells = [[keys[name].get(pair) for pair in COMBINATIONS] for name in names]
    columns = pd.MultiIndex.from_tuples(COMBINATIONS)
    return pd.DataFrame(cells, index=pd.Index(names, name="method"), columns=columns)


def attention_x_pooling_table(found: Comparison) -> Table | None:
    """Methods x (attention, pooling): averages over tasks."""
    keys = attention_x_pooling(found)
    if keys is None:
        return None
    keys.columns = [f"{attention}, {pooling}" for attention, pooling in keys.columns]
    about = f"Average over {len(found.ranked)} tasks by attention and pooling; "
    about += _tested(found, found.ranked, "table")
    values, after = against_default(found, keys, found.ranked)
    every = list(values.columns)
    return Table(
        "attention_x_pooling", values, found.caption(about, found.ranked), after, unranked=every
    )


def layer_table(found: Comparison) -> Table | None:
    """Layers x methods: averages over tasks. Layer 0 is the embeddings, -1 after the last norm."""
    values = by_layer(found)
    if values is None:
        return None
    about = (
        f"Average over {len(found.ranked)} tasks by the layer that is pooled; the best layer of "
    )
    about += "each method in bold. Layer 0 is the embeddings, -1 follows the final norm."
    return Table("layers", values, found.caption(about, found.ranked))


def by_layer(found: Comparison) -> pd.DataFrame | None:
    """Layers x (method and what else tells its rows apart): averages over tasks, layer -1 last;
    None for fewer than three layers."""
    if found.rows["layer"].nunique() < 3:
        return None
    means = found.mean(found.ranked)
    depth = pd.to_numeric(found.rows["layer"])
    columns: dict[str, dict[int, float]] = {}
    key: Any
    for key, layer in depth.dropna().items():
        columns.setdefault(_without(key, [f"layer {layer:.0f}"]), {})[int(layer)] = means[key]
    values = pd.DataFrame(columns)
    depths = sorted(layer for layer in values.index if layer >= 0)
    values = values.reindex([*depths, -1]).rename_axis(index="layer").dropna(how="all")
    return values if len(values) else None


def template_table(found: Comparison) -> Table | None:
    """Templates x tasks."""
    if not found.rows["options"].fillna("").str.contains("template=").any():
        return None
    groups = {**{found.short[task]: [task] for task in found.tasks}, "Average": found.ranked}
    keys = pd.DataFrame({column: found.scores.index.to_list() for column in groups})
    keys.index = found.scores.index
    values, after = blank(keys.index, groups), blank(keys.index, groups, "")
    for column, tasks in groups.items():
        one, behind = against_default(found, keys[[column]], tasks)
        values[column], after[column] = one[column], behind[column]
    about = "Main scores by template; " + _tested(found, found.tasks, "column")
    return Table("templates", values, found.caption(about), after, unranked=list(groups))


def against_default(
    found: Comparison, keys: pd.DataFrame, tasks: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Averages over tasks of the rows named in a frame of keys, and what to print behind each."""
    tested = [task for task in tasks if task in found.evidence]
    means, drawn = found.mean(tasks), found.resampled(tested)
    values, after = blank(keys.index, keys.columns), blank(keys.index, keys.columns, "")
    p_values: dict[tuple[int, ...], float] = {}
    for place in np.ndindex(keys.shape):
        key: Any = keys.iat[place]
        if key is None:
            continue
        values.iat[place] = means[key]
        base = found.default_of(key)
        if base is None or base == key:
            after.iat[place] = "" if base is None else " (=)"
            continue
        gap = means[key] - means[base]
        after.iat[place] = "" if np.isnan(gap) else f" ({gap:+.1f})"
        if drawn is not None and key in drawn.estimate and base in drawn.estimate:
            one = drawn.difference(key, base)
            if len(tested) == len(tasks):
                after.iat[place] = f" ({gap:+.1f} ± {one.margin:.1f})"
            if one.estimate * gap > 0:
                p_values[place] = one.p_value
    for (row, column), p_value in holm(p_values).items():
        if p_value < 0.05:
            after.iat[row, column] = str(after.iat[row, column]).replace(")", "*)")
    return values, after


def _tested(found: Comparison, tasks: Sequence[str], family: str) -> str:
    """What stands in parentheses, for a caption."""
    text = (
        f"in parentheses the difference to the method's own default (=) ± half its 95 % interval, "
        f"* p < 0.05 (paired bootstrap over examples, Holm's correction over the {family})."
    )
    known = [found.short[task] for task in tasks if task in found.evidence]
    if len(known) < len(tasks):
        text += f" Tested on {', '.join(known) or 'no task'}: of other tasks no examples are kept, "
        text += "and an average with them has no interval."
    return text


def _without(key: Any, parts: Sequence[str]) -> str:
    """A row's name without some parts of its setting."""
    label, setting = key
    rest = [part for part in setting.strip("()").split(", ") if part and part not in parts]
    return f"{label} ({', '.join(rest)})" if rest else label
