"""The lines of runs/README.md that read results with mteb's own tools, as they stand there."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from analysis.records.results import load_results

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "runs" / "reference"


def blocks():
    return re.findall(r"```python\n(.+?)```", (ROOT / "runs" / "README.md").read_text(), re.S)


@pytest.mark.parametrize("report", ["sts", "demo"])
def test_the_lines_find_every_cell_and_its_scores(report, tmp_path, monkeypatch, capsys):
    shutil.copytree(REFERENCE / report / "results", tmp_path / "runs" / "results")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    assert len(blocks()) == 2
    for block in blocks():
        exec(block, names)
    ours = load_results([tmp_path / "runs"])
    assert names["scores"].shape == (ours["task"].nunique(), ours["folder"].nunique())
    expected = ours.assign(cell=ours["folder"].map(lambda folder: Path(folder).name))
    expected = expected.pivot(index="task", columns="cell", values="score").astype(float)
    found = names["scores"].rename_axis(index="task", columns="cell")
    pd.testing.assert_frame_equal(found.sort_index()[list(expected)], expected, atol=1e-9)
    assert names["result"].task_name in capsys.readouterr().out


def test_a_frame_of_all_results_would_average_the_cells(tmp_path):
    """Why the lines take each cell by itself; once mteb tells cells apart they can be shorter."""
    from mteb import ResultCache

    shutil.copytree(REFERENCE / "sts" / "results", tmp_path / "results")
    results = ResultCache(tmp_path).load_results(
        include_remote=False, load_experiments="match_name"
    )
    assert len(results.model_results) == 9
    assert results.to_dataframe(format="long")["model_name"].nunique() == 2
    assert not ResultCache(tmp_path).load_results(include_remote=False).model_results
