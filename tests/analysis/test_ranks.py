"""Ranks with intervals: against brute force, and against simulations whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from analysis.rank_intervals import RankIntervals, find_detectable_effect, rank_rows
from analysis.statistics import Resampled, resample


def make_scores(rows=4, tasks=6, seed=0):
    values = np.random.default_rng(seed).normal(50, 10, (rows, tasks))
    return pd.DataFrame(values, [f"r{i}" for i in range(rows)], [f"t{i}" for i in range(tasks)])


def test_ranks_borda_and_one_task_left_out_are_those_of_brute_force():
    scores = make_scores()
    found = rank_rows(scores, {}, samples=50)
    assert found.rows == list(scores.mean(axis=1).sort_values(ascending=False).index)
    for row in scores.index:
        above = sum(
            (scores.loc[row, t] > scores.loc[other, t])
            for t in scores
            for other in scores.index.drop(row)
        )
        assert found.borda[row] == above
        assert found.mean_rank[row] == pytest.approx(len(scores) - above / scores.shape[1])
        left = [scores.drop(columns=t).mean(axis=1).rank(ascending=False)[row] for t in scores]
        assert list(found.without_one.loc[row]) == [min(left), max(left)]


def test_what_no_draw_can_change_has_no_width_and_equal_rows_share_their_place():
    scores = make_scores(rows=1).iloc[[0, 0, 0, 0]].set_axis(list("abcd"))
    scores.loc["a"] += 5
    scores.loc["d"] -= 5
    found = rank_rows(scores, {}, samples=50)
    assert found.rank.to_dict() == {"a": 1, "b": 2.5, "c": 2.5, "d": 4}
    assert (found.low == found.rank).all() and (found.high == found.rank).all()
    assert found.group() == {"a": "a", "b": "b", "c": "b", "d": "c"}
    assert found.is_separable("a", "d") and not found.is_separable("b", "c")


def test_letters_are_runs_of_which_no_two_are_told_apart():
    above = np.full((4, 4), 0.9)  # neighbours are not told apart, others are
    for first, second in ((0, 2), (0, 3), (1, 3)):
        above[first, second] = 0.99
    nothing = pd.Series(dtype=float)
    found = RankIntervals(
        list("wxyz"), nothing, nothing, nothing, pd.DataFrame(above), pd.DataFrame(), nothing,
        nothing, [],
    )  # fmt: skip
    assert found.group() == {"w": "a", "x": "ab", "y": "bc", "z": "c"}


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="got 1 rows, 6 tasks, 0 missing"):
        rank_rows(make_scores(rows=1), {}, samples=10)
    scores = make_scores()
    scores.iloc[0, 0] = np.nan
    with pytest.raises(ValueError, match="1 missing"):
        rank_rows(scores, {}, samples=10)


def draw_evidence(truth_MT, examples, draw):
    """Scores of M rows on T tasks, each the mean of noisy examples that the rows share."""
    evidence = {}
    for task in range(truth_MT.shape[1]):
        hard = draw.normal(0, 1, examples)
        frames = {
            f"r{m}": pd.DataFrame({"value": value + hard + draw.normal(0, 1, examples)})
            for m, value in enumerate(truth_MT[:, task])
        }
        evidence[f"t{task}"] = resample(frames, statistic="mean", samples=200, seed=task)
    return evidence


def test_the_interval_holds_the_rank_over_all_tasks():
    """Three rows whose averages over an unlimited number of tasks are known: 0, 0.3 and 0.6."""
    held, runs = 0, 120
    for run in range(runs):
        draw = np.random.default_rng(run)
        truth_MT = np.array([[0.0], [0.3], [0.6]]) + draw.normal(0, 0.4, (3, 8))
        evidence = draw_evidence(truth_MT, 40, draw)
        scores = pd.DataFrame({task: one.estimate for task, one in evidence.items()})
        found = rank_rows(scores, evidence, samples=200, seed=run)
        assert found.tested == list(scores)
        wanted = {"r2": 1, "r1": 2, "r0": 3}
        held += sum(found.low[row] <= place <= found.high[row] for row, place in wanted.items())
    assert held / (3 * runs) >= 0.92


def test_the_detectable_effect_is_found_in_four_of_five_simulations():
    examples, effects, found = 60, [], 0
    for run in range(40):
        draw = np.random.default_rng(run)
        effects.append(
            find_detectable_effect(draw_evidence(np.zeros((2, 1)), examples, draw)["t0"])
        )
    effect = np.mean(effects)
    assert effect == pytest.approx(2.80 * np.sqrt(2 / examples), rel=0.05)  # z.975 + z.8
    for run in range(300):
        draw = np.random.default_rng(1000 + run)
        drawn: Resampled = draw_evidence(np.array([[0.0], [effect]]), examples, draw)["t0"]
        found += drawn.subtract("r1", "r0").p_value < 0.05
    assert 0.72 < found / 300 < 0.88
