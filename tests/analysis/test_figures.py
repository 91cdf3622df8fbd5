"""What figures are drawn from, and what their files hold."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.comparison import compare
from analysis.records.results import load_results
from analysis.render.figure import Drawing
from analysis.views.cost import find_pareto_front
from analysis.views.differences import find_cliques
from tests.analysis.cells import cell, draw, examples


@pytest.fixture
def found(tmp_path):
    for number, method in enumerate(("cheap", "dear", "worse")):
        entry = {"texts": 100, "tokens": 1000 * (number + 1), "tokens_computed": 500}
        entry |= {"tokens_per_second": 100.0, "seconds": 5.0, "linear_weights": 10**8}
        scores = {
            "A": ("Classification", examples(200, (0.6, 0.8, 0.7)[number])),
            "B": ("Retrieval", examples(100, (0.5, 0.7, 0.6)[number])),
        }
        cell(tmp_path, method, scores, entry=entry)
    return compare(load_results([tmp_path]), samples=50)


def test_the_pareto_front_is_what_nothing_cheaper_matches():
    costs = pd.Series([3, 1, 2, 2, np.nan, 4])
    scores = pd.Series([5, 2, 2, 4, 9, 5])
    assert find_pareto_front(costs, scores) == [1, 3, 0]


def test_cliques_are_the_largest_runs_within_the_critical_difference():
    # Demsar, figure 1a: ranks 1.964, 2.000, 2.893, 3.143 and CD 1.25 are one group
    assert find_cliques([1.964, 2.0, 2.893, 3.143], 1.25) == [(0, 3)]
    assert find_cliques([1.0, 2.0, 2.5, 4.0], 1.0) == [(0, 1), (1, 2)]
    assert find_cliques([1.0, 3.0, 5.0], 1.0) == []


def test_the_cost_is_drawn_at_what_records_say(found):
    drawn = draw("cost", found)
    assert isinstance(drawn, Figure)
    tokens, gflop, time = drawn.axes
    points = [line.get_xydata()[0] for line in tokens.lines[:3]]
    assert np.allclose(points, [[10, 55], [20, 75], [30, 65]])
    assert [line.get_xdata()[0] for line in gflop.lines[:3]] == pytest.approx([2, 4, 6])
    assert [line.get_xdata()[0] for line in time.lines[:3]] == pytest.approx([100, 200, 300])
    assert tokens.lines[3].get_xydata().tolist() == [[10, 55], [20, 75]]  # the front


def test_bars_have_the_intervals_of_their_examples(found):
    axes = draw("types", found).axes
    low, high = axes[0].lines[0].get_xdata()
    assert low < 60 < high and high - low == pytest.approx(4 * 100 * (0.24 / 200) ** 0.5, rel=0.3)


def test_files_are_the_same_twice_and_fonts_are_embedded(found, tmp_path):
    drawings = [Drawing("cd", draw("differences", found), "") for _ in "ab"]
    written = [one.write(tmp_path / part) for part, one in zip("ab", drawings, strict=True)]
    for one, other in zip(*written, strict=True):
        assert one.read_bytes() == other.read_bytes()
    pdf = written[0][0].read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf


INCHES = {  # one column of a two-column page, or both
    "cost": 6.9,
    "types": 6.9,
    "differences": 6.9,
    "templates": 6.9,
}


@pytest.mark.parametrize("name", INCHES)
def test_a_figures_files_are_as_wide_as_a_column_and_hold_all_of_it(name, found, tmp_path):
    """Of the written files: what is cropped, or cut off at the edge, has another width on paper."""
    figure = draw(name, found)
    pdf, png = Drawing(name, figure, "").write(tmp_path)
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf.read_bytes())
    assert float(box[1]) / 72 == pytest.approx(INCHES[name], abs=0.001)
    assert int.from_bytes(png.read_bytes()[16:20], "big") == int(INCHES[name] * 200)  # dpi
    drawn, whole = figure.get_tightbbox(), figure.bbox_inches
    assert drawn.x0 >= whole.x0 - 0.01 and drawn.x1 <= whole.x1 + 0.01
    assert drawn.y0 >= whole.y0 - 0.01 and drawn.y1 <= whole.y1 + 0.01


def test_what_rows_do_not_allow_is_not_drawn(found):
    for name in ("attention_x_pooling", "layers", "similarities", "geometry"):
        assert draw(name, found) is None
