"""Which views reports have, and that their names cost nothing to know."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from analysis.reports import OTHERS, REPORTS, RUNS_FOLDER
from analysis.section import load_view
from analysis.statistics import Statistic

ROOT = Path(__file__).parents[2]
VIEWS = sorted(file.stem for file in (ROOT / "analysis" / "views").glob("[!_]*.py"))


@pytest.mark.parametrize("report", [*REPORTS.values(), RUNS_FOLDER, OTHERS], ids=lambda r: r.name)
def test_a_report_names_views_that_exist_once_each(report):
    assert set(report.views) <= set(VIEWS) and len(set(report.views)) == len(report.views)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_makes_something_and_is_in_a_report(name):
    view = load_view(name)
    assert view.table or view.figure
    assert bool(view.figure) == bool(view.figure_caption)
    assert any(name in report.views for report in REPORTS.values())


def test_the_names_of_reports_need_neither_pandas_nor_matplotlib():
    code = (
        "import sys, analysis.reports\nprint({'pandas', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_every_statistic_that_records_name_can_be_resampled():
    from methods.evaluation.per_example import STATISTICS

    assert set(get_args(Statistic)) == set(STATISTICS)
