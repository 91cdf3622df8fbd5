"""The statistics against scipy and against worked examples of the literature."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from analysis.statistics import _SCORES, _draw_counts, average, friedman, holm, resample, wilcoxon

# Demsar (JMLR 7, 2006), table 6: AUC of four variants of C4.5 on fourteen data sets.
DEMSAR = pd.DataFrame(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.97501, 0.975],  # printed alike, ranked apart
        [0.957, 0.978, 0.946, 0.970],
    ],
    columns=["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"],
)


def examples(value, gold=None, group=None):
    frame = pd.DataFrame({"value": value})
    if gold is not None:
        frame["gold"] = gold
    if group is not None:
        frame["group"] = group
    return frame


def difference(one, other, *, statistic, samples=1000):
    found = resample({"one": one, "other": other}, statistic=statistic, samples=samples)
    return found.subtract("one", "other")


def test_friedman_and_nemenyi_as_in_demsars_example():
    ranking = friedman(DEMSAR)
    found = ranking.ranks[list(DEMSAR.columns)].round(3).tolist()
    assert found == [3.143, 2.0, 2.893, 1.964]
    assert ranking.critical_difference == pytest.approx(1.25, abs=0.005)
    assert ranking.p_value == pytest.approx(stats.friedmanchisquare(*DEMSAR.T.to_numpy()).pvalue)
    assert ranking.p_value < 0.05 and ranking.tasks == 14
    # "not powerful enough": the best and the worst differ by 1.18 < 1.25; at 0.10 (CD 1.12) they do
    loose = friedman(DEMSAR, alpha=0.10)
    assert loose.critical_difference == pytest.approx(1.12, abs=0.005)


def test_nemenyi_agrees_with_scikit_posthocs():
    sp = pytest.importorskip("scikit_posthocs")
    p_values = sp.posthoc_nemenyi_friedman(DEMSAR.to_numpy())
    ranking = friedman(DEMSAR, alpha=0.10)
    ranks = ranking.ranks[DEMSAR.columns].to_numpy()
    apart = np.abs(ranks[:, None] - ranks) > ranking.critical_difference
    assert ((p_values.to_numpy() < 0.10) == apart).all() and apart.any()


def test_wilcoxon_is_scipys_and_demsars():
    # Demsar, table 2: C4.5 against C4.5+m; T = 12 at n = 14, p < 0.05 (critical value 21)
    p_value = wilcoxon(DEMSAR["C4.5+m"], DEMSAR["C4.5"])
    differences = DEMSAR["C4.5+m"] - DEMSAR["C4.5"]
    assert p_value == pytest.approx(stats.wilcoxon(differences, zero_method="pratt").pvalue)
    assert p_value < 0.05
    assert wilcoxon([1, 2, 3], [1, 2, 3]) == 1.0
    with pytest.raises(ValueError, match="score of both methods on every task"):
        wilcoxon([1, np.nan], [1, 2])


def test_holm_as_in_demsars_example():
    # Demsar, table on page 14: p = 0.016, 0.607, 0.019 against the control, k - 1 = 3
    found = holm({"C4.5+m": 0.019, "C4.5+cf": 0.607, "C4.5+m+cf": 0.016})
    assert found == pytest.approx({"C4.5+m": 0.048, "C4.5+cf": 0.607, "C4.5+m+cf": 0.048}, abs=2e-4)
    assert list(found) == ["C4.5+m", "C4.5+cf", "C4.5+m+cf"]
    assert holm({}) == {}


@pytest.mark.parametrize("statistic", ["mean", "pearson", "spearman", "average_precision"])
def test_the_bootstrap_agrees_with_scipys(statistic):
    draw = np.random.default_rng(1)
    gold = draw.normal(size=300)
    one, other = gold + draw.normal(size=300), gold + 1.3 * draw.normal(size=300)
    if statistic == "average_precision":
        gold = (gold > 0.5).astype(float)
    else:  # ties, as human scores and rounded cosines have them
        gold, one = gold.round(1), one.round(1)
    functions = {
        "mean": lambda x, y, g, axis: x.mean(axis) - y.mean(axis),
        "pearson": lambda x, y, g, axis: _correlations(x, g) - _correlations(y, g),
        "spearman": lambda x, y, g, axis: (
            _correlations(stats.rankdata(x, axis=-1), stats.rankdata(g, axis=-1))
            - _correlations(stats.rankdata(y, axis=-1), stats.rankdata(g, axis=-1))
        ),
        "average_precision": lambda x, y, g, axis: _precisions(x, g) - _precisions(y, g),
    }
    expected = stats.bootstrap(
        (one, other, gold),
        functions[statistic],
        paired=True,
        vectorized=True,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    found = difference(
        examples(one, gold), examples(other, gold), statistic=statistic, samples=4000
    )
    spread = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.05 * spread)
    assert found.high == pytest.approx(expected.high, abs=0.05 * spread)
    exact = {
        "mean": lambda v: v.mean(),
        "pearson": lambda v: stats.pearsonr(v, gold)[0],
        "spearman": lambda v: stats.spearmanr(v, gold)[0],
        "average_precision": lambda v: _precisions(v, gold),
    }[statistic]
    assert found.estimate == pytest.approx(exact(one) - exact(other))


def _correlations(x, y):
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    return (x * y).sum(-1) / np.sqrt((x**2).sum(-1) * (y**2).sum(-1))


def _precisions(values, labels):
    rows = zip(np.atleast_2d(values), np.atleast_2d(labels), strict=True)
    found = np.array([average_precision_score(label, value) for value, label in rows])
    return found if np.ndim(values) > 1 else found[0]


@pytest.mark.parametrize("statistic", ["pearson", "spearman", "average_precision"])
def test_weights_mean_what_copies_mean(statistic):
    """Every resample, ties and all, has the score of the examples written out as often as drawn."""
    draw = np.random.default_rng(5)
    value, label = draw.integers(0, 6, 40).astype(float), draw.integers(0, 2, 40).astype(float)
    weights = _draw_counts(draw, 20, 40)
    found = _SCORES[statistic](value, label)(weights)
    whole = {
        "pearson": lambda v, g: stats.pearsonr(v, g)[0],
        "spearman": lambda v, g: stats.spearmanr(v, g)[0],
        "average_precision": lambda v, g: average_precision_score(g, v),
    }[statistic]
    for row, score in zip(weights.astype(int), found, strict=True):
        assert score == pytest.approx(whole(np.repeat(value, row), np.repeat(label, row)))


def test_an_average_over_tasks_is_narrower_than_its_tasks():
    draw = np.random.default_rng(6)
    tasks = [
        resample(
            {m: examples(draw.normal(size=100)) for m in "ab"}
            | ({"c": examples(draw.normal(size=100))} if task else {}),
            statistic="mean", seed=task,
        )
        for task in range(4)
    ]  # fmt: skip
    mean = average(tasks)
    assert list(mean.estimate.index) == ["a", "b"]  # one task lacks c
    assert mean.estimate["a"] == pytest.approx(np.mean([t.estimate["a"] for t in tasks]))
    widths = [np.diff(t.find_interval("a"))[0] for t in (*tasks, mean)]
    assert widths[-1] == pytest.approx(np.mean(widths[:-1]) / 2, rel=0.15)  # 1 / sqrt(4)


def test_intervals_hold_what_they_promise():
    """Of 200 pairs of equally good methods about 5 % are called different."""
    draw = np.random.default_rng(3)
    called = sum(
        difference(
            examples(draw.normal(size=80)), examples(draw.normal(size=80)),
            statistic="mean", samples=400,
        ).p_value < 0.05
        for _ in range(200)
    )  # fmt: skip
    assert 2 <= called <= 22


def test_groups_weigh_the_same_whatever_their_size():
    group = ["en"] * 100 + ["de"] * 10
    one = examples([1.0] * 100 + [0.0] * 10, group=group)
    other = examples([0.0] * 110, group=group)
    found = difference(one, other, statistic="mean", samples=200)
    assert found.estimate == found.low == found.high == 0.5


def test_the_same_method_does_not_differ_from_itself():
    frame = examples(np.arange(20.0), gold=np.arange(20.0))
    found = difference(frame, frame, statistic="spearman", samples=200)
    assert (found.estimate, found.low, found.high, found.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    "other",
    [
        examples([1.0, 2.0]),
        examples([1.0, 2.0, 3.0], gold=[1, 2, 4]),
        examples([1.0, 2.0, 3.0]),
    ],
)
def test_what_is_not_the_same_examples_is_refused(other):
    with pytest.raises(ValueError, match="the same examples in the same order"):
        difference(examples([1.0, 2.0, 3.0], gold=[1, 2, 3]), other, statistic="spearman")


def test_too_few_methods_or_a_missing_score_is_refused():
    with pytest.raises(ValueError, match="got 2 methods, 14 tasks, 0 missing"):
        friedman(DEMSAR.iloc[:, :2])
    with pytest.raises(ValueError, match="1 missing scores"):
        friedman(DEMSAR.mask(DEMSAR == 0.599))
