"""What training gave on each genre of STSBenchmark: captions, forums, news."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.baselines import find_trained, find_untrained, star_significant
from analysis.caption import INTERVALS, SIGNIFICANT, write_caption
from analysis.comparison import Comparison, load_paired_examples
from analysis.render.table import Table, fill
from analysis.statistics import Resampled, resample
from analysis.view import Options, View

TASK = "STSBenchmark"


def tabulate_genres(comparison: Comparison, options: Options) -> Table | None:
    """Return trained rows x genres, with what that is more than zero-shot. None where no row
    recorded its examples' genres."""
    frame, trained = comparison.frame, find_trained(comparison)
    done = frame[(frame["task"] == TASK) & (frame["status"] == "done")]
    examples = load_paired_examples(TASK, done)
    genres = next((own["genre"] for own in examples.values() if "genre" in own), None)
    if genres is None or trained.empty:
        return None
    names = sorted(genres.unique())
    index = pd.MultiIndex.from_tuples([key for key in trained.index if key in examples])
    values, notes = fill(index, names), fill(index, names, "")
    p_values: dict[tuple[Any, str], float] = {}
    for genre in names:
        parts = {key: own[genres == genre] for key, own in examples.items()}
        drawn = resample(parts, statistic="spearman", samples=options.samples)
        drawn = Resampled(drawn.estimate * 100, drawn.draws * 100)
        for key in index:
            values.loc[[key], genre] = drawn.estimate[key]
            base = find_untrained(comparison, key)
            if base in examples:
                one = drawn.subtract(key, base)
                text = f" ({one.estimate:+.1f} [{one.low:.1f}, {one.high:.1f}])"
                notes.loc[[key], genre] = text
                p_values[key, genre] = one.p_value
    star_significant(notes, p_values)
    values.columns = notes.columns = [
        f"{name.removeprefix('main-')} ({(genres == name).sum()})" for name in names
    ]
    about = f"Spearman x 100 on {TASK} by genre (pairs), trained; in parentheses the difference to "
    about += f"zero-shot. {INTERVALS}, {SIGNIFICANT.format('table')}."
    return Table("genres", values, write_caption(comparison, about, [TASK]), notes)


VIEW = View(table=tabulate_genres)
