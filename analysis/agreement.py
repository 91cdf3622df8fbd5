"""Compare how two evaluations rank rows: `python -m analysis.agreement FULL SMALL`.

Two runs folders with the same rows. A task of FULL is compared with the task of SMALL that has its
name, or whose name begins with it (DemoReuters: DemoReutersSmall). Of each: the pairs of rows that
FULL separates (paired bootstrap over examples, p < 0.05 after Holm's correction over all pairs of
the task), and whether SMALL has them in the same order; and Kendall's tau-b over all rows. A task
without recorded examples (clustering, tasks that state their own error) separates no pair.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import Comparison, compare
from analysis.records.results import load_results
from analysis.render.table import DASH
from analysis.statistics import Resampled, holm

SUMMARY = ["full", "small", "rows", "pairs", "separated in full", "order kept", "Kendall's tau"]
PAIRS = ["small", "higher in full", "lower in full", "full: difference", "small: difference"]


def measure_agreement(full: Comparison, small: Comparison) -> list[pd.DataFrame]:
    """Return three tables: by task; every pair that FULL separates; the scores. ± is a standard
    error.

    Raises ValueError for two that share no task, or fewer than two rows.
    """
    tasks = match_tasks(full.tasks, small.tasks)
    rows = [key for key in full.scores.index if key in small.scores.index]
    if not tasks or len(rows) < 2:
        has = [f"{', '.join(c.tasks)} of {', '.join(c.names.values())}" for c in (full, small)]
        raise ValueError(
            f"the two have {len(tasks)} tasks and {len(rows)} rows in common, but at least one "
            f"task and two rows are needed; the first has {has[0]}; the second {has[1]}"
        )
    summary, pairs, scores = [], [], {}
    for first, second in tasks.items():
        drawn, again = full.evidence.get(first), small.evidence.get(second)
        values = pd.DataFrame({"full": full.scores[first], "small": small.scores[second]})
        values = values.loc[rows].dropna()
        separated = find_separated(drawn, values.index)
        for high, low, *rest in compare_pairs(values, separated, drawn, again):
            pairs.append([second, full.names[high], full.names[low], *rest])
        same_order = sum(values["small"][high] > values["small"][low] for high, low in separated)
        counts = [str(len(separated)), f"{same_order} of {len(separated)}"]
        tau = format_number(
            kendall_tau(values), estimate_tau_error(drawn, again, values.index), digits=2
        )
        counts = counts if drawn else ["no examples", DASH]
        summary.append([first, second, *count_pairs(values), *counts, tau])
        column = second if second != first else f"{second} (small)"
        scores[first] = list_scores(full, first, rows)
        scores[column] = list_scores(small, second, rows)
    ranked = {a: b for a, b in tasks.items() if a in full.ranked and b in small.ranked}
    if len(ranked) > 1:
        summary.append(summarize_ranks(full.scores.loc[rows], small.scores.loc[rows], ranked))
    return [
        pd.DataFrame(summary, columns=SUMMARY).set_index("full"),
        pd.DataFrame(pairs, columns=[*PAIRS, "order kept"]).set_index("small"),
        pd.DataFrame(scores, index=[full.names[key] for key in rows]),
    ]


def compare_pairs(
    values: pd.DataFrame,
    separated: Sequence[tuple[Any, Any]],
    full: Resampled | None,
    small: Resampled | None,
) -> list[tuple[Any, Any, str, str, str]]:
    """Return both differences of each pair that FULL separates, and whether the order is kept."""
    again = set(find_separated(small, values.index))
    found = []
    for high, low in separated:
        gap = values.loc[high] - values.loc[low]
        verdict = "yes" if gap["small"] > 0 else "NO"
        verdict += "" if {(high, low), (low, high)} & again else ", not separated"
        texts = [format_number(gap["full"], estimate_gap_error(full, high, low))]
        texts += [format_number(gap["small"], estimate_gap_error(small, high, low))]
        found.append((high, low, *texts, verdict))
    return found


def summarize_ranks(full: pd.DataFrame, small: pd.DataFrame, tasks: Mapping[str, str]) -> list[Any]:
    """Return the summary's last line: the order of mean ranks over tasks."""
    sides = {"full": full[list(tasks)], "small": small[list(tasks.values())]}
    ranks = {name: side.rank().mean(axis=1, skipna=False) for name, side in sides.items()}
    values = pd.DataFrame(ranks).dropna()
    tau = format_number(kendall_tau(values), digits=2)
    names = ", ".join(tasks.values())
    return ["mean rank over", names, *count_pairs(values), DASH, DASH, tau]


def match_tasks(full: Sequence[str], small: Sequence[str]) -> dict[str, str]:
    """Return the small task of each full one: of its name, else the first that begins with it."""
    found = {task: task for task in full if task in small}
    for name in small:
        begins = [task for task in full if name.startswith(task)]
        if begins:
            found.setdefault(max(begins, key=len), name)
    return {task: found[task] for task in full if task in found}


def find_separated(drawn: Resampled | None, keys: Any) -> list[tuple[Any, Any]]:
    """Return the pairs (higher, lower) of rows that examples separate."""
    known = [key for key in keys if key in drawn.estimate] if drawn else []
    found = {pair: drawn.subtract(*pair) for pair in combinations(known, 2)} if drawn else {}
    adjusted = holm({pair: difference.p_value for pair, difference in found.items()})
    apart = [pair for pair in found if adjusted[pair] < 0.05]
    return [pair if found[pair].estimate > 0 else pair[::-1] for pair in apart]


def kendall_tau(values: pd.DataFrame) -> float:
    """Return Kendall's tau-b of two columns."""
    return float(values["full"].corr(values["small"], method="kendall"))


def estimate_tau_error(full: Resampled | None, small: Resampled | None, keys: Any) -> float:
    """Return the standard deviation of tau over resamples of both sides' examples."""
    if full is None or small is None or not all(k in full.draws and k in small.draws for k in keys):
        return np.nan
    draws = zip(full.draws[list(keys)].to_numpy(), small.draws[list(keys)].to_numpy(), strict=True)
    return float(np.std([kendall_tau(pd.DataFrame({"full": a, "small": b})) for a, b in draws]))


def estimate_gap_error(drawn: Resampled | None, high: Any, low: Any) -> float:
    """Return the standard error of a difference, paired over examples."""
    if drawn is None or high not in drawn.draws or low not in drawn.draws:
        return np.nan
    return float((drawn.draws[high] - drawn.draws[low]).std())


def list_scores(source: Comparison, task: str, keys: Sequence[Any]) -> list[str]:
    """Return a task's scores, with the error that it states itself or that a bootstrap gives."""
    errors = source.errors[task]
    if task in source.evidence:
        errors = errors.fillna(source.evidence[task].draws.std())
    return [format_number(source.scores[task][key], errors[key]) for key in keys]


def count_pairs(values: pd.DataFrame) -> list[int]:
    """Return how many rows and pairs of them there are."""
    return [len(values), len(values) * (len(values) - 1) // 2]


def format_number(value: float, error: float = np.nan, *, digits: int = 1) -> str:
    """Return a number as text, with its error where there is one."""
    if value != value:
        return DASH
    return f"{value:.{digits}f}" + ("" if error != error else f" ± {error:.{digits}f}")


def main() -> None:
    """Run the command."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    parser = argparse.ArgumentParser(
        prog="python -m analysis.agreement",
        description=__doc__,
        epilog="for instance: python -m analysis.agreement runs/demo_full runs/demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("full", help="the runs folder whose order is taken for granted")
    parser.add_argument("small", help="the runs folder that is compared with it")
    given = parser.parse_args()
    try:
        tables = measure_agreement(*(compare(load_results([f])) for f in (given.full, given.small)))
    except (ValueError, OSError) as error:
        sys.exit(f"{parser.prog}: {error}")
    print("\n\n".join(table.to_markdown(disable_numparse=True) for table in tables))
    print("\n± is a standard error: of a bootstrap over examples, or what the task states itself.")


if __name__ == "__main__":
    main()
