"""What fewer dimensions and fewer bits cost: each post beside the same vectors without one."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.baselines import star_significant
from analysis.caption import INTERVALS, SIGNIFICANT, write_caption
from analysis.comparison import Comparison
from analysis.labels import as_text, drop_settings
from analysis.render.table import Table, fill
from analysis.view import Options, View

FLOAT = "float32"  # the column of vectors as they are
KINDS = ["", "int8", "binary"]  # by falling size


def tabulate_posts(comparison: Comparison, options: Options) -> Table | None:
    """Return cells x posts: averages over tasks, with the difference to the vectors as they are.

    None where no row has a post.
    """
    keys = arrange_posts(comparison)
    if keys is None:
        return None
    tasks = comparison.ranked
    means, drawn = comparison.mean(tasks), comparison.resample(tasks)
    values, notes = fill(keys.index, keys.columns), fill(keys.index, keys.columns, "")
    p_values: dict[tuple[Any, str], float] = {}
    for name, own in keys.iterrows():
        base: Any = own[FLOAT]
        for post, key in own.items():
            if key is None:
                continue
            values.loc[name, post] = means[key]
            if key == base or base is None:
                continue
            notes.loc[name, post] = f" ({means[key] - means[base]:+.1f})"
            if drawn is not None and {key, base} <= set(drawn.estimate.index):
                one = drawn.subtract(key, base)
                notes.loc[name, post] = f" ({one.estimate:+.1f} [{one.low:.1f}, {one.high:.1f}])"
                p_values[name, str(post)] = one.p_value
    star_significant(notes, p_values)
    about = (
        f"Average over {len(tasks)} tasks by what is done to vectors after pooling; in parentheses "
        f"the difference to the vectors as they are ({FLOAT}). dims:K: the first K dimensions; "
        f"int8: a byte a dimension, its range measured on {_name_corpora(comparison)}; binary: its "
        f"sign alone. "
    )
    if drawn is None:
        about += "Not tested, since a task has no scores by example."
    else:
        about += f"{INTERVALS}, {SIGNIFICANT.format('table')}."
    caption, unranked = write_caption(comparison, about, tasks), list(values.columns)
    return Table("post", values, caption, notes, unranked=unranked)


def arrange_posts(comparison: Comparison) -> pd.DataFrame | None:
    """Return cells x posts: the key of the row each is. None where no row has a post."""
    rows = comparison.rows[comparison.rows["source"] == "run"]
    posts = rows["post"].map(as_text)
    if not posts.astype(bool).any():
        return None
    keys: dict[str, dict[str, Any]] = {}
    for key, post in posts.items():
        own: Any = key
        keys.setdefault(drop_settings(own, [post]), {})[post or FLOAT] = key
    names = [name for name, own in keys.items() if set(own) != {FLOAT}]
    columns = [FLOAT, *sorted(set(posts) - {""}, key=_order)]
    cells = [[keys[name].get(column) for column in columns] for name in names]
    return pd.DataFrame(cells, index=pd.Index(names, name="method"), columns=columns)


def _order(post: str) -> tuple[Any, ...]:
    """Sort by the kind of quantisation, and more dimensions first."""
    dims, _, rest = post.partition("+")
    cut = dims.startswith("dims:")
    kind = rest if cut else post
    place = KINDS.index(kind) if kind in KINDS else len(KINDS)
    return place, kind, -int(dims[5:]) if cut else float("-inf")


def _name_corpora(comparison: Comparison) -> str:
    names = comparison.rows["fitted_on"].dropna().unique()
    return ", ".join(sorted(map(str, names))) or "a corpus"


VIEW = View(table=tabulate_posts)
