"""How much the wording of a prompt changes, and whether it changes which method is first.

Rows of a method that differ in their option `prompt` alone (methods/prompt.py) are wordings of it;
the one without that option is the paper's own.
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.caption import write_caption
from analysis.comparison import Comparison
from analysis.render.figure import TWO_COLUMNS, iterate_styles, open_figure
from analysis.render.table import Table, fill
from analysis.view import Options, View

FEWEST = 3  # wordings that say anything of a spread
PROMPT = re.compile(r"(?:^|, )prompt=")


def tabulate_prompts(comparison: Comparison, options: Options) -> Table | None:
    """Return methods x what their wordings score. None where no method has several."""
    groups = group_wordings(comparison)
    if not groups:
        return None
    names = {method: f"{method} ({len(own)} wordings)" for method, own in groups.items()}
    above = {method: f"above {method}" for method in groups} if len(groups) > 1 else {}
    columns = ["the paper's", "mean", "sd", "lowest", "highest", *above.values()]
    values = fill(pd.Index(list(names.values()), name="method"), columns)
    for method, own in groups.items():
        row = names[method]
        papers = own[[key for key in own.index if not _is_reworded(comparison, key)]]
        values.loc[row, "the paper's"] = papers.iloc[0] if len(papers) else float("nan")
        for column, value in (
            ("mean", own.mean()),
            ("sd", own.std(ddof=1)),
            ("lowest", own.min()),
            ("highest", own.max()),
        ):
            values.loc[row, column] = value
        for other, column in above.items():
            if other != method:
                values.loc[row, column] = 100 * count_above(own, groups[other])
    about = (
        f"Average over {len(comparison.ranked)} tasks by wording: the paper's own wording, and "
        "mean, standard deviation, lowest and highest over all wordings. "
    )
    if above:
        about += (
            "Above X: in how many percent of the pairs of a wording of this row and one of X this "
            "row scores more; between 0 and 100 the wordings decide which is first. "
        )
    caption = write_caption(comparison, about.strip(), comparison.ranked)
    return Table("prompts", values, caption, unranked=columns)


def group_wordings(comparison: Comparison) -> dict[str, pd.Series]:
    """Return, by method, the average of each wording; of methods with several alone."""
    means = comparison.mean(comparison.ranked).dropna()
    groups: dict[str, list[Any]] = {}
    for key in means.index:
        groups.setdefault(str(comparison.rows.loc[[key], "method"].iloc[0]), []).append(key)
    reworded = {
        method: keys
        for method, keys in groups.items()
        if sum(_is_reworded(comparison, key) for key in keys) >= FEWEST - 1
    }
    return {method: means[keys] for method, keys in reworded.items()}


def _is_reworded(comparison: Comparison, key: Any) -> bool:
    option = comparison.rows.loc[[key], "options"].iloc[0]
    return bool(PROMPT.search(option if isinstance(option, str) else ""))


def count_above(own: pd.Series, other: pd.Series) -> float:
    """Return the share of pairs of two groups' scores in which the first is higher; ties half."""
    differences = own.to_numpy()[:, None] - other.to_numpy()
    return float(((differences > 0) + 0.5 * (differences == 0)).mean())


def draw_prompts(comparison: Comparison, options: Options) -> Figure | None:
    """Draw a line a method, with a mark for each wording, the paper's filled."""
    groups = group_wordings(comparison)
    if not groups:
        return None
    with open_figure(TWO_COLUMNS, 0.35 * len(groups) + 0.7) as (figure, [axes]):
        for place, ((_, own), style) in enumerate(
            zip(groups.items(), iterate_styles(), strict=False)
        ):
            style = {**style, "linestyle": "", "markersize": 6}
            for key, score in own.items():
                filled = "none" if _is_reworded(comparison, key) else style.get("color")
                axes.plot(score, place, **{**style, "markerfacecolor": filled})
        axes.set_yticks(range(len(groups)), list(groups))
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlabel("average score by wording (filled: the paper's own)")
    return figure


VIEW = View(
    table=tabulate_prompts,
    figure=draw_prompts,
    figure_caption="Average score by wording of the prompt; filled: the paper's own.",
)
