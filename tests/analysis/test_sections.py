"""A whole report: its sections, its files, and what of incomplete records it shows."""

import json

import pytest

from analysis.report import report
from analysis.reports import REPORTS
from tests.analysis.cells import cell, examples


def test_a_report_has_a_section_for_each_report_and_runs_folder(tmp_path):
    for layer in (0, 1, -1):
        cell(tmp_path / "all", "echo", {"A": ("STS", 0.5)}, layer=layer, reports=["layers"])
    cell(tmp_path / "mine", "echo", {"A": ("STS", 0.5)})
    made = report([tmp_path / "all", tmp_path / "mine"], tmp_path / "out")
    assert [section.name for section in made] == ["layers", "mine"]
    written = sorted(str(f.relative_to(tmp_path / "out")) for f in (tmp_path / "out").rglob("*.*"))
    assert {"layers/layers.tex", "layers/layers.pdf", "mine/types.md", "report.html"} <= set(
        written
    )
    before = {name: (tmp_path / "out" / name).read_bytes() for name in written}
    report([tmp_path / "all", tmp_path / "mine"], tmp_path / "out")
    assert before == {name: (tmp_path / "out" / name).read_bytes() for name in written}


def test_a_report_that_does_not_exist_is_named_with_the_valid_ones(tmp_path, caplog):
    """No error: records are not edited, and the others of the folder are to be seen."""
    cell(tmp_path / "mine", "echo", {"A": ("STS", 0.5)}, reports=["layrs"])
    cell(tmp_path / "mine", "sgpt", {"A": ("STS", 0.5)}, reports=["sts"])
    made = report([tmp_path / "mine"], tmp_path / "out")
    assert [section.name for section in made] == ["sts", "mine"]
    message = f"report: layrs is unknown (in 1 records); valid: {', '.join(REPORTS)}"
    assert message in caplog.text and message in (tmp_path / "out" / "report.html").read_text()


def test_incomplete_records_do_not_stop_a_report(tmp_path, caplog):
    """What older runs, other people and half-copied folders leave is shown as far as it goes."""
    runs = tmp_path / "runs"
    scores = {"A": ("STS", 0.5), "B": ("STS", "missing")}
    for layer in (0, 1, -1):
        cell(runs, "echo", scores, layer=layer, reports=["layers"], command="dec2vec What's")
    cell(runs, "sgpt", {"A": ("STS", examples(9, 0.5))}, entry={"unit": "pair"})
    for file in runs.rglob("A.csv.gz"):
        file.unlink()
    next(runs.rglob("001/A.json")).unlink()
    old = json.loads(next(runs.rglob("003/record/run.json")).read_text())
    for name in ("default", "options", "adapters"):
        del old[name]
    next(runs.rglob("003/record/run.json")).write_text(json.dumps(old))
    made = report([runs], tmp_path / "out")
    assert [section.name for section in made] == ["layers", "runs"]
    assert "no scores of it in A.json" in (tmp_path / "out" / "report.html").read_text()


def test_a_report_of_other_peoples_results_alone(tmp_path):
    theirs = tmp_path / "results" / "org__big" / "1"
    theirs.mkdir(parents=True)
    (theirs / "model_meta.json").write_text(json.dumps({"name": "org/big", "revision": "1"}))
    scores = {"test": [{"hf_subset": "default", "main_score": 0.7}]}
    (theirs / "STS12.json").write_text(json.dumps({"task_name": "STS12", "scores": scores}))
    made = report([tmp_path], tmp_path / "out")
    assert "70.0" in made[0].tables[0].to_markdown()


def test_a_base_that_only_one_section_has_leaves_the_other_out(tmp_path, caplog):
    for runs, methods in (("one", ("a", "b")), ("two", ("c", "d"))):
        for number, method in enumerate(methods):
            cell(tmp_path / runs, method, {"A": ("STS", number / 2)})
    folders = [tmp_path / "one", tmp_path / "two"]
    assert [s.name for s in report(folders, tmp_path / "out", base="a")] == ["one"]
    assert "no section two: no row is 'a'" in caplog.text
    with pytest.raises(ValueError, match="no row is 'x'"):
        report(folders, tmp_path / "out", base="x")
