"""Wordings of a prompt: their spread, and whether they change which method is first."""

import numpy as np
import pytest

from analysis.comparison import compare
from analysis.records.results import load_results
from analysis.view import Options
from analysis.views.prompts import count_above, draw_prompts, group_wordings, tabulate_prompts
from tests.analysis.cells import cell


@pytest.fixture
def comparison(tmp_path):
    for method, scores in {"prompt": [0.5, 0.4, 0.6], "prompt_echo": [0.45, 0.3, 0.55]}.items():
        for place, score in enumerate(scores):
            options = {"prompt": f"wording, {place}: {{text}}"} if place else {}
            cell(tmp_path, method, {"A": ("STS", score)}, options=options)
    cell(tmp_path, "sgpt", {"A": ("STS", 0.9)})
    cell(tmp_path, "sgpt", {"A": ("STS", 0.8)}, options={"template": "brackets"})
    return compare(load_results([tmp_path]))


def test_wordings_are_summarised_by_method(comparison):
    table = tabulate_prompts(comparison, Options())
    values = table.values
    assert list(values.index) == ["prompt (3 wordings)", "prompt_echo (3 wordings)"]
    row = values.iloc[0]
    assert row["the paper's"] == pytest.approx(50) and row["mean"] == pytest.approx(50)
    assert (row["lowest"], row["highest"]) == pytest.approx((40, 60))
    assert row["sd"] == pytest.approx(np.std([40, 50, 60], ddof=1))
    # 40, 50, 60 against 30, 45, 55: 1 + 2 + 3 of nine pairs
    assert row["above prompt_echo"] == pytest.approx(100 * 6 / 9)
    assert values.iloc[1]["above prompt"] == pytest.approx(100 * 3 / 9)
    assert np.isnan(row["above prompt"])
    assert draw_prompts(comparison, Options()) is not None


def test_methods_without_wordings_are_no_part_of_it(comparison):
    assert "sgpt" not in group_wordings(comparison)
    few = comparison.frame[comparison.frame["method"] == "sgpt"]
    assert tabulate_prompts(type(comparison)(few), Options()) is None


def test_ties_count_half(comparison):
    scores = comparison.mean(comparison.ranked)
    assert count_above(scores, scores) == 0.5
