"""Does a small evaluation say what a larger one says? `python -m analysis.agreement FULL SMALL`.

Two runs folders with the same rows. A task of FULL is held against the task of SMALL that has its
name, or whose name begins with it (DemoReuters: DemoReutersSmall). Of each: the pairs of rows that
FULL separates (paired bootstrap over examples, p < 0.05 after Holm's correction over all pairs of
the task), and whether SMALL has them in the same order; and Kendall's tau-b over all rows. What
keeps no examples (clustering, tasks that state an error of their own) separates no pair here.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import Comparison, compare
from analysis.results import load_results
from analysis.statistics import Resampled, holm

DASH = "–"
SUMMARY = ["full", "small", "rows", "pairs", "separated in full", "order kept", "Kendall's tau"]
PAIRS = ["small", "higher in full", "lower in full", "full: difference", "small: difference"]


def agreement(full: Comparison, small: Comparison) -> list[pd.DataFrame]:
    """Three tables: by task; every pair that FULL separates; the scores. ± is a standard error.

    Raises ValueError for two that share no task, or fewer than two rows.
    """
    tasks = matched(full.tasks, small.tasks)
    rows = [key for key in full.scores.index if key in small.scores.index]
    if not tasks or len(rows) < 2:
        has = [f"{', '.join(c.tasks)} of {', '.join(c.names.values())}" for c in (full, small)]
        raise ValueError(
            f"the two have {len(tasks)} tasks and {len(rows)} rows in common, but at least one "
            f"task and two rows are needed; the first has {has[0]}; the second {has[1]}"
        )
    summary, pairs, scores = [], [], {}
    for first, second in tasks.items():
        here, there = full.evidence.get(first), small.evidence.get(second)
        values = pd.DataFrame({"full": full.scores[first], "small": small.scores[second]})
        values = values.loc[rows].dropna()
        found, again = separated(here, values.index), separated(there, values.index)
        kept = 0
        for high, low in found:
            gap = values.loc[high] - values.loc[low]
            kept += (same := bool(gap["small"] > 0))
            said = "yes" if same else "NO"
            said += "" if {(high, low), (low, high)} & set(again) else ", not separated"
            told = [number(gap["full"], gap_error(here, high, low))]
            told += [number(gap["small"], gap_error(there, high, low))]
            pairs.append([second, full.names[high], full.names[low], *told, said])
        counts = [str(len(found)), f"{kept} of {len(found)}"] if here else ["no examples", DASH]
        tau = number(kendall(values), tau_error(here, there, values.index), digits=2)
        summary.append([first, second, *sizes(values), *counts, tau])
        column = second if second != first else f"{second} (small)"
        scores[first] = scores_of(full, first, rows)
        scores[column] = scores_of(small, second, rows)
    ranked = {a: b for a, b in tasks.items() if a in full.ranked and b in small.ranked}
    if len(ranked) > 1:
        sides = {"full": full.scores[list(ranked)], "small": small.scores[list(ranked.values())]}
        placed = {
            name: side.loc[rows].rank().mean(axis=1, skipna=False) for name, side in sides.items()
        }
        ranks = pd.DataFrame(placed).dropna()
        about = ["mean rank over", ", ".join(ranked.values())]
        summary.append([*about, *sizes(ranks), DASH, DASH, number(kendall(ranks), digits=2)])
    return [
        pd.DataFrame(summary, columns=SUMMARY).set_index("full"),
        pd.DataFrame(pairs, columns=[*PAIRS, "order kept"]).set_index("small"),
        pd.DataFrame(scores, index=[full.names[key] for key in rows]),
    ]


def matched(full: Sequence[str], small: Sequence[str]) -> dict[str, str]:
    """The small task of each full one: of its name, else the first whose name begins with it."""
    found = {task: task for task in full if task in small}
    for name in small:
        begins = [task for task in full if name.startswith(task)]
        if begins:
            found.setdefault(max(begins, key=len), name)
    return {task: found[task] for task in full if task in found}


def separated(drawn: Resampled | None, keys: Any) -> list[tuple[Any, Any]]:
    """The pairs (higher, lower) of rows that examples tell apart."""
    known = [key for key in keys if key in drawn.estimate] if drawn else []
    found = {pair: drawn.difference(*pair) for pair in combinations(known, 2)} if drawn else {}
    adjusted = holm({pair: difference.p_value for pair, difference in found.items()})
    apart = [pair for pair in found if adjusted[pair] < 0.05]
    return [pair if found[pair].estimate > 0 else pair[::-1] for pair in apart]


def kendall(values: pd.DataFrame) -> float:
    """Kendall's tau-b of two columns."""
    return float(values["full"].corr(values["small"], method="kendall"))


def tau_error(full: Resampled | None, small: Resampled | None, keys: Any) -> float:
    """The standard deviation of tau when the examples of both are drawn again."""
    if full is None or small is None or not all(k in full.draws and k in small.draws for k in keys):
        return np.nan
    draws = zip(full.draws[list(keys)].to_numpy(), small.draws[list(keys)].to_numpy(), strict=True)
    return float(np.std([kendall(pd.DataFrame({"full": a, "small": b})) for a, b in draws]))


def gap_error(drawn: Resampled | None, high: Any, low: Any) -> float:
    """The standard error of a difference, paired over examples."""
    if drawn is None or high not in drawn.draws or low not in drawn.draws:
        return np.nan
    return float((drawn.draws[high] - drawn.draws[low]).std())


def scores_of(source: Comparison, task: str, keys: Sequence[Any]) -> list[str]:
    """A task's scores, with the error that it states itself or that a bootstrap gives."""
    errors = source.errors[task]
    if task in source.evidence:
        errors = errors.fillna(source.evidence[task].draws.std())
    return [number(source.scores[task][key], errors[key]) for key in keys]


def sizes(values: pd.DataFrame) -> list[int]:
    """How many rows and pairs of them there are."""
    return [len(values), len(values) * (len(values) - 1) // 2]


def number(value: float, error: float = np.nan, *, digits: int = 1) -> str:
    """A number, with its error where there is one."""
    if value != value:
        return DASH
    return f"{value:.{digits}f}" + ("" if error != error else f" ± {error:.{digits}f}")


def main() -> None:
    """Entry point of the command."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    parser = argparse.ArgumentParser(
        prog="python -m analysis.agreement",
        description=__doc__,
        epilog="for instance: python -m analysis.agreement runs/demo_full runs/demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("full", help="the runs folder whose order is taken for granted")
    parser.add_argument("small", help="the runs folder that is held against it")
    given = parser.parse_args()
    try:
        tables = agreement(*(compare(load_results([f])) for f in (given.full, given.small)))
    except (ValueError, OSError) as error:
        sys.exit(f"{parser.prog}: {error}")
    print("\n\n".join(table.to_markdown(disable_numparse=True) for table in tables))
    print("\n± is a standard error: of a bootstrap over examples, or what the task states itself.")


if __name__ == "__main__":
    main()
