"""What training gave: beside the same method untrained, by genre, and by what was pooled."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.comparison import Comparison, examples_of
from analysis.statistics import Resampled, holm, resample
from analysis.table import Table
from analysis.tables import INTERVALS, blank

TRAINING_COLUMNS = {"steps": "steps", "train_seconds": "seconds", "learning_rate": "learning rate"}
STARS = "* p < 0.05 after Holm's correction over the table"


def gains_table(found: Comparison) -> Table | None:
    """What was trained beside the same method untrained; None where nothing was."""
    rows = _trained(found)
    if rows.empty:
        return None
    groups = {found.short[task]: [task] for task in found.tasks}
    if len(found.ranked) > 1:
        groups["Average"] = found.ranked
    names = [f"{task} {kind}" for task in groups for kind in ("zero-shot", "trained")]
    values, after = blank(rows.index, names), blank(rows.index, names, "")
    p_values: dict[tuple[Any, str], float] = {}
    for column, tasks in groups.items():
        means, drawn = found.mean(tasks), found.resampled(tasks)
        for key in rows.index:
            values.loc[[key], f"{column} trained"] = means[key]
            if (base := found.untrained(key)) is None:
                continue
            values.loc[[key], f"{column} zero-shot"] = means[base]
            text = f"{means[key] - means[base]:+.1f}"
            if drawn is not None and key in drawn.estimate and base in drawn.estimate:
                one = drawn.difference(key, base)
                text += f" [{one.low:.1f}, {one.high:.1f}]"
                p_values[key, f"{column} trained"] = one.p_value
            if means[base] == means[base]:
                after.loc[[key], f"{column} trained"] = f" ({text})"
    _star(after, p_values)
    unknown = [name for name in names if values[name].isna().all()]
    values = values.drop(columns=unknown)  # nothing was scored before
    for column, name in TRAINING_COLUMNS.items():
        values[name] = rows[column].astype(float)
    about = ""
    if (after != "").any(axis=None):
        about = "Trained beside zero-shot; in parentheses the difference. "
        about += f"{INTERVALS}, {STARS}. "
    about += "Steps are of the last adapter, seconds of the chain. Data: "
    common = rows["trained_on"].mode()[0]
    others = rows[rows["trained_on"] != common].groupby("trained_on", sort=True)
    named = (f"{data} in {', '.join(found.names[k] for k in of.index)}" for data, of in others)
    about += "; ".join([common, *named])
    after = after.reindex(columns=values.columns, fill_value="")
    digits = {"steps": 0, "seconds": 0, "learning rate": 5}
    caption = found.caption(about + ".", [])
    return Table("gains", values, caption, after, list(values.columns), digits)


def genre_table(found: Comparison) -> Table | None:
    """STSBenchmark by genre (captions, forums, news): trained, and what that is more than
    zero-shot. None where no row kept its examples' genres."""
    trained, task = _trained(found), "STSBenchmark"
    done = found.frame[(found.frame["task"] == task) & (found.frame["status"] == "done")]
    kept = examples_of(task, done)
    genres = next((f["genre"] for f in kept.values() if "genre" in f), None)
    if genres is None or trained.empty:
        return None
    names = sorted(genres.unique())
    keys = [key for key in trained.index if key in kept]
    index = pd.MultiIndex.from_tuples(keys)
    values, after = blank(index, names), blank(index, names, "")
    p_values: dict[tuple[Any, str], float] = {}
    for genre in names:
        parts = {key: frame[genres == genre] for key, frame in kept.items()}
        drawn = resample(parts, statistic="spearman", samples=found.samples)
        drawn = Resampled(drawn.estimate * 100, drawn.draws * 100)
        for key in keys:
            values.loc[[key], genre] = drawn.estimate[key]
            base = found.untrained(key)
            if base in kept:
                one = drawn.difference(key, base)
                text = f" ({one.estimate:+.1f} [{one.low:.1f}, {one.high:.1f}])"
                after.loc[[key], genre] = text
                p_values[key, genre] = one.p_value
    _star(after, p_values)
    values.columns = after.columns = [
        f"{name.removeprefix('main-')} ({(genres == name).sum()})" for name in names
    ]
    about = f"Spearman x 100 on {task} by genre (pairs), trained; in parentheses the difference to "
    about += f"zero-shot. {INTERVALS}, {STARS}."
    return Table("genres", values, found.caption(about, [task]), after)


def poolings_table(found: Comparison) -> Table | None:
    """Poolings, trained ones among them, x attentions, all trained alike: averages over tasks, and
    the difference to the last token under causal attention (arXiv 2409.02727)."""
    rows = _trained(found)
    rows = rows.assign(pooler=rows["pooler"].fillna(""))
    if rows["pooler"].nunique() < 2:
        return None
    keys: dict[str, dict[str, Any]] = {}
    for key, row in rows.sort_values(["method", "pooler", "pooling"]).iterrows():
        name = f"{row['pooler']} over {row['pooling']}" if row["pooler"] else row["pooling"]
        name = f"{row['method']}: {name}"
        if row["attention"] in keys.get(name, {}):  # trained in another way too
            name += f" {key[1]}"  # pyright: ignore[reportIndexIssue]
        keys.setdefault(name, {})[row["attention"]] = key
    columns = [c for c in ("causal", "bidirectional") if any(c in own for own in keys.values())]
    index = pd.Index(list(keys))
    values, after = blank(index, columns), blank(index, columns, "")
    means, drawn = found.mean(found.ranked), found.resampled(found.ranked)
    p_values: dict[tuple[Any, str], float] = {}
    for name, own in keys.items():
        base = keys.get(f"{name.split(': ')[0]}: last", {}).get("causal")
        for column, key in own.items():
            values.loc[name, column] = means[key]
            if key == base:
                after.loc[name, column] = " (=)"
            elif (
                base is not None and drawn is not None and {key, base} <= set(drawn.estimate.index)
            ):
                one = drawn.difference(key, base)
                after.loc[name, column] = f" ({one.estimate:+.1f} [{one.low:.1f}, {one.high:.1f}])"
                p_values[name, column] = one.p_value
    _star(after, p_values)
    tasks = ", ".join(found.short[task] for task in found.ranked)
    alike = (rows[["trained_on", "steps", "learning_rate"]].nunique() < 2).all()
    about = f"Average over {tasks} by what is pooled and by attention, "
    about += "all trained alike" if alike else "not all trained alike (gains says how)"
    about += "; in parentheses the difference to the last token "
    about += f"under causal attention. {INTERVALS}, {STARS}."
    caption = found.caption(about, found.ranked)
    return Table("pooling_and_attention", values, caption, after, unranked=columns)


def _trained(found: Comparison) -> pd.DataFrame:
    return found.rows[found.rows["learning_rate"].notna()]


def _star(after: pd.DataFrame, p_values: dict[tuple[Any, str], float]) -> None:
    """Mark what is significant after correction, in place."""
    for (key, column), p_value in holm(p_values).items():
        if p_value < 0.05:
            after.loc[[key], column] = after.loc[[key], column] + "*"
