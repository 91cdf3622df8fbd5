"""What a row costs, and how its vectors lie: tables of what records measured beside scores."""

from __future__ import annotations

import pandas as pd

from analysis.comparison import Comparison
from analysis.names import KEY
from analysis.records import GEOMETRY
from analysis.table import Table


def cost_table(found: Comparison) -> Table | None:
    """What a row's texts cost: tokens a text, operations a text, tokens a second."""
    costs = cost(found)
    if costs["tokens"].isna().all():
        return None
    values = pd.DataFrame(
        {
            "Average": found.mean(found.ranked),
            "tokens/text": costs["tokens"],
            "GFLOP/text": costs["gflop"],
            "tokens/s": costs["speed"],
            "texts/s": costs["speed"] / costs["tokens"],
            "seconds": costs["seconds"],
            "MiB": costs["memory"],
        }
    )
    about = "What a method's reading costs. GFLOP/text: two operations a weight of the linear "
    about += (
        "layers and token, attention over the text left out; tokens/s: inside the model, where "
    )
    about += "texts were read and not found in a cache; seconds: wall time of the tasks, scoring "
    about += "included; MiB: the process's peak."
    return Table(
        "cost",
        values,
        found.caption(about),
        unranked=list(values.columns[1:]),
        digits={"GFLOP/text": 2, "tokens/s": 0, "seconds": 0, "MiB": 0},
    )


def geometry_table(found: Comparison) -> Table | None:
    """The embedding space of each row."""
    measures = geometry(found)
    if measures["mean_cosine"].isna().all():
        return None
    names = {
        **{"mean_cosine": "cosine", "effective_rank": "rank", "top_dimension": "top dim."},
        **{"top_components": "top 10 PCs"},
    }
    values = measures.rename(columns=names)
    about = (
        "The embedding space. cosine: mean over random pairs; rank: effective rank; top dim., top "
        "10 PCs: their share of the variance; uniformity, alignment: Wang and Isola (2020), lower "
        "is better. The last four over the tasks of pairs: score as it is, after centring, after "
        "whitening on the task's own texts. Means over the tasks that all rows have which have the "
        "measure at all."
    )
    digits = {n: 2 for n in ("cosine", "uniformity", "top dim.", "top 10 PCs", "alignment")}
    unranked = [str(c) for c in values if c not in ("score", "centred", "whitened")]
    return Table("geometry", values, found.caption(about), unranked=unranked, digits=digits)


def geometry(found: Comparison) -> pd.DataFrame:
    """By row: the measures of the record (GEOMETRY) and, of pairs, `score`; each a mean over the
    tasks that all rows have which have the measure at all."""
    done = found.frame[found.frame["status"] == "done"]
    columns = ["score", *GEOMETRY]
    done = done.assign(**{name: pd.to_numeric(done[name]) for name in columns})
    by_task = done[done["mean_cosine"].notna()].groupby([*KEY, "task"])[columns].mean()
    rows = by_task.groupby(KEY).ngroups
    by_task["score"] = by_task["score"].where(by_task["centred"].notna())
    by_task[["score", "centred", "whitened"]] *= 100
    means = {}
    for column in [*GEOMETRY[:6], "score", *GEOMETRY[6:]]:
        cells = by_task[column].unstack("task") if rows else pd.DataFrame()
        means[column] = cells.dropna(how="all").dropna(axis=1).mean(axis=1)
    return pd.DataFrame(means).reindex(found.scores.index)


def cost(found: Comparison) -> pd.DataFrame:
    """By row: tokens and GFLOP a text, tokens a second, seconds, peak MiB; over the tasks that all
    rows of ours have, so that they compare."""
    done = found.frame[found.frame["status"].eq("done") & found.frame["source"].eq("run")]
    done = done.drop_duplicates([*KEY, "task"])
    tasks = done.groupby("task").size()
    done = done[done["task"].isin(tasks[tasks == done.groupby(KEY).ngroups].index)]
    numbers = ["texts", "tokens", "tokens_computed", "tokens_per_second", "seconds"]
    done = done.assign(**{n: pd.to_numeric(done[n]) for n in [*numbers, "peak_memory_mib"]})
    done["busy"] = done["tokens_computed"] / done["tokens_per_second"]
    read = done[done["busy"] > 0].groupby(KEY)
    rows = done.groupby(KEY)
    tokens = rows["tokens"].sum(min_count=1) / rows["texts"].sum(min_count=1)
    weights = pd.to_numeric(done["linear_weights"]).groupby([done[key] for key in KEY]).max()
    costs = pd.DataFrame(
        {
            "tokens": tokens,
            "gflop": 2 * weights.reindex(tokens.index) * tokens / 1e9,
            "speed": read["tokens_computed"].sum() / read["busy"].sum(),
            "seconds": rows["seconds"].sum(min_count=1),
            "memory": rows["peak_memory_mib"].max(),
        }
    )
    return costs.reindex(found.scores.index)
