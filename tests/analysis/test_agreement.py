"""Two runs folders whose agreement is known: one pair of three turns round."""

import subprocess
import sys

import pytest

from analysis.agreement import match_tasks, measure_agreement
from analysis.comparison import compare
from analysis.records.results import load_results
from tests.analysis.cells import cell
from tests.analysis.test_reference import ROOT

# Right answers among forty: all rows are far apart in the full runs.
FULL = {"echo": 36, "sgpt": 20, "llm2vec": 4}
SMALL = {"echo": 20, "sgpt": 36, "llm2vec": 4}


def runs(folder, right, suffix=""):
    for place, (method, number) in enumerate(right.items()):
        tasks = {
            f"Words{suffix}": ("Classification", [1.0] * number + [0.0] * (40 - number)),
            f"Groups{suffix}": ("Clustering", 0.7 - place / 10),
            f"Lee{suffix}": ("STS", number / 50, 0.05),
        }
        cell(folder, method, tasks)
    return folder


def compared(folder):
    return compare(load_results([folder]))


def test_the_pairs_that_a_small_run_turns_round_are_named(tmp_path):
    full = runs(tmp_path / "full", FULL)
    small = runs(tmp_path / "small", SMALL, "Small")
    summary, pairs, scores = measure_agreement(compared(full), compared(small))
    words = summary.loc["Words"]
    assert (words["small"], words["rows"], words["pairs"]) == ("WordsSmall", 3, 3)
    assert (words["separated in full"], words["order kept"]) == ("3", "2 of 3")
    assert words["Kendall's tau"].startswith("0.33 ± ")  # two pairs agree, one does not
    kept = {(row.iloc[0], row.iloc[1]): row["order kept"] for _, row in pairs.iterrows()}
    assert kept == {
        ("echo", "sgpt"): "NO",
        ("echo", "llm2vec"): "yes",
        ("sgpt", "llm2vec"): "yes",
    }
    groups, lee = summary.loc["Groups"], summary.loc["Lee"]
    assert groups["separated in full"] == "no examples" and groups["Kendall's tau"] == "1.00"
    assert lee["separated in full"] == "no examples" and lee["Kendall's tau"] == "0.33"
    assert scores.loc["echo", "Lee"] == "72.0 ± 5.0" and scores.loc["echo", "Groups"] == "70.0"
    # On Words and Groups echo and sgpt are tied in small; Lee states an error and is not ranked.
    assert summary.loc["mean rank over", "Kendall's tau"] == "0.82"


def test_a_folder_agrees_with_itself(tmp_path):
    one = compared(runs(tmp_path, FULL))
    summary, pairs, scores = measure_agreement(one, one)
    assert set(pairs["order kept"]) == {"yes"} and len(pairs) == 3
    assert summary.loc["Words", "Kendall's tau"] == "1.00 ± 0.00"
    assert "Words (small)" in scores


def test_a_task_is_found_by_its_name_or_by_what_its_name_begins_with():
    assert match_tasks(["A", "B"], ["A", "BSmall"]) == {"A": "A", "B": "BSmall"}
    assert match_tasks(["A", "AB"], ["ASmall", "ABSmall", "AB"]) == {"A": "ASmall", "AB": "AB"}
    assert match_tasks(["A", "AB"], ["ABSmall", "C"]) == {"AB": "ABSmall"}


def test_folders_that_share_nothing_are_an_error(tmp_path):
    full, other = runs(tmp_path / "full", FULL), runs(tmp_path / "other", {"udever": 3}, "Small")
    with pytest.raises(ValueError, match="3 tasks and 0 rows in common.*GroupsSmall of ude"):
        measure_agreement(compared(full), compared(other))
    command = [sys.executable, "-m", "analysis.agreement"]
    done = subprocess.run(
        [*command, str(full), "nowhere"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1 and "nowhere holds no records" in done.stderr
    done = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "Compare how two evaluations rank" in done.stdout
