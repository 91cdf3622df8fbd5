"""Seeds: the view on synthetic records, and the interval's coverage where the truth is known."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.comparison import compare
from analysis.records.results import load_results
from analysis.seeds import average_seeds, subtract_groups
from analysis.statistics import resample
from tests.analysis.cells import cell, maybe_tabulate, tabulate

RATIOS = (0.3, 1.0, 3.0)  # of the seeds' standard deviation to the examples' standard error


def draw_scores(seeds, ratio, draw, *, examples=50, groups=1, samples=200):
    """Scores of seeds on shared examples. The true mean is 0, the examples' standard error 1."""
    frames = {}
    hard = draw.normal(0, math.sqrt(examples), examples)
    for group in range(groups):
        for seed in range(seeds):
            own = draw.normal(0, ratio)
            frames[group, seed] = pd.DataFrame({"value": hard + own})
    drawn = resample(frames, statistic="mean", samples=samples, seed=0)
    return drawn.estimate, drawn


def measure_coverage(seeds, ratio, interval, runs=300):
    held = 0
    for run in range(runs):
        scores, drawn = draw_scores(seeds, ratio, np.random.default_rng([run, seeds]))
        mean, margin = interval(scores, drawn)
        held += abs(mean) <= margin
    return held / runs


def with_seeds(scores, drawn):
    one = average_seeds(scores, list(scores.index), drawn)
    return one.mean, one.margin


def by_resampling_seeds(scores, drawn):
    """Draw the seeds with replacement, and the examples: what must not be done with three."""
    picks = np.random.default_rng(0).integers(0, len(scores), (len(drawn.draws), len(scores)))
    means = np.take_along_axis(drawn.draws.to_numpy(), picks, axis=1).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return scores.mean(), (high - low) / 2


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_holds_the_truth(seeds, ratio):
    assert measure_coverage(seeds, ratio, with_seeds) >= 0.92


def test_resampling_three_seeds_does_not_hold_it():
    assert measure_coverage(3, 10.0, by_resampling_seeds) < 0.9
    assert measure_coverage(3, 10.0, with_seeds) >= 0.92


def test_without_examples_it_is_students_interval():
    scores = pd.Series([50.0, 52.0, 57.0], ["a", "b", "c"])
    one = average_seeds(scores, ["a", "b", "c"])
    low, high = stats.t.interval(0.95, 2, scores.mean(), stats.sem(scores))
    assert one.mean - one.margin == pytest.approx(low)
    assert one.mean + one.margin == pytest.approx(high)
    assert one.spread == pytest.approx(scores.std(ddof=1)) and one.seeds == 3


def test_a_difference_without_examples_is_welchs():
    scores = pd.Series([50.0, 52.0, 57.0, 60.0, 61.0, 59.5, 66.0], list("abcdefg"))
    difference, margin = subtract_groups(scores, list("abc"), list("defg"))
    wanted = stats.ttest_ind(scores[list("abc")], scores[list("defg")], equal_var=False)
    low, high = wanted.confidence_interval(0.95)
    assert difference - margin == pytest.approx(low)
    assert difference + margin == pytest.approx(high)


def test_what_is_hard_for_all_cancels_out_of_a_difference():
    scores, drawn = draw_scores(3, 0.1, np.random.default_rng(0), groups=2)
    first, second = [(0, seed) for seed in range(3)], [(1, seed) for seed in range(3)]
    _, margin = subtract_groups(scores, first, second, drawn)
    assert margin < average_seeds(scores, first, drawn).margin / 2


def test_one_seed_has_no_interval():
    one = average_seeds(pd.Series([50.0], ["a"]), ["a"])
    assert one.mean == 50 and math.isnan(one.spread) and math.isnan(one.margin)


def train(folder, seed, **more):
    about = {"folder": f"mine_{seed:08x}", "digest": str(seed), "steps": 20, "seconds": 1.0}
    about |= {"learning_rate": 1e-4, "data": {"sources": {"nli": {}}}, "seed": seed, **more}
    return {"training": [about], "adapters": [f"runs/adapters/mine_{seed:08x}"]}


def test_rows_are_named_by_recipe_and_seed_and_joined(tmp_path):
    draw = np.random.default_rng(0)
    for seed in (1, 2, 3):
        examples = list(draw.normal(0.6 + seed / 100, 0.1, 40))
        cell(tmp_path, "sgpt", {"A": ("STS", examples)}, **train(tmp_path, seed))
    cell(tmp_path, "echo", {"A": ("STS", list(draw.normal(0.5, 0.1, 40)))}, **train(tmp_path, 1))
    frame = load_results([tmp_path])
    table = tabulate("seeds", compare(frame))
    assert list(table.values.index) == ["echo (mine)", "sgpt (mine)"]
    assert table.values.loc["sgpt (mine)", "Seeds"] == 3
    assert table.notes.loc["sgpt (mine)", "A"].startswith(" ± ")
    assert table.notes.loc["echo (mine)", "A"] == ""  # of one seed
    names = tabulate("tasks", compare(frame)).name_rows()
    assert "sgpt (mine, seed 2)" in names and not any("0000" in name for name in names)
    assert maybe_tabulate("seeds", compare(frame[frame["seed"] == 1])) is None


def by_examples_alone(scores, drawn):
    """What an interval of one seed is: of the examples."""
    low, high = np.quantile(drawn.draws.mean(axis=1), [0.025, 0.975])
    return scores.mean(), (high - low) / 2


def main():
    """Print how often 95 % intervals hold the truth, by number of seeds and ratio."""
    ways = {"examples alone": by_examples_alone, "seeds resampled": by_resampling_seeds}
    for seeds in (1, 3, 5, 10):
        for name, interval in {**ways, "seeds and examples": with_seeds}.items():
            if seeds > 1 or interval is by_examples_alone:
                found = [measure_coverage(seeds, ratio, interval, runs=2000) for ratio in RATIOS]
                print(seeds, name, *(f"{held:.3f}" for held in found))


if __name__ == "__main__":
    main()
