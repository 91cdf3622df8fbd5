"""A sweep begins with one line that says what is left of it."""

import json

import pytest

from tests.cli.test_evaluate import dec2vec

SMALL = ["model=tiny", "tasks.names=[DemoLeeSmall]", "cache.folder=null"]


def begin(*words, cwd, verb="evaluate"):
    code, output = dec2vec(verb, "-m", *words, cwd=cwd)
    lines = output.splitlines()
    (place,) = (place for place, line in enumerate(lines) if " jobs: " in line)
    assert not any("INFO" in line for line in lines[:place])  # no job ran before
    assert "Traceback" not in output and "Callback" not in output
    return code, lines[place]


def test_the_line_counts_what_is_done_and_predicts_the_rest(tmp_path):
    code, line = begin("method=sgpt,echo", *SMALL, cwd=tmp_path)
    assert code == 0 and line.endswith("2 jobs: 2 to do, time unknown")
    code, line = begin("method=sgpt,echo", "layer=-1,1", *SMALL, cwd=tmp_path)
    assert code == 0 and "4 jobs: 2 done, 2 to do, about " in line
    words = ["model=tiny", "tasks.names=[DemoLeeSmall,DemoReutersSmall]", "cache.folder=null"]
    code, line = begin("method=sgpt,repllama", "layer=1,9", *words, cwd=tmp_path)
    assert code == 1 and "4 jobs: 1 unfinished, 3 to do, time unknown" in line


def test_every_launcher_and_experiment_gets_the_line(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ["hydra/launcher=processes"]
    code, line = begin("method=sgpt", "normalize=true,false", *SMALL, *launcher, cwd=tmp_path)
    assert code == 0 and "2 jobs: 2 to do, time unknown" in line
    code, line = begin("experiment=templates", *SMALL, "report=null", cwd=tmp_path)
    assert " jobs: " in line and "to do" in line


def test_a_sweep_of_trainings_is_counted_by_their_folders(tmp_path):
    rows = [{"query": f"text {n}", "positive": f"text {n} again"} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ["model=tiny", "data=file", "data.sources.mine.path=rows.jsonl", "recipe=demo"]
    words += ["recipe.batch_size=8", "method=sgpt"]
    code, line = begin(*words, "recipe.steps=2,3", cwd=tmp_path, verb="train")
    assert code == 0 and line.endswith("2 jobs: 2 to do, time unknown")
    code, line = begin(*words, "recipe.steps=2,3,4", cwd=tmp_path, verb="train")
    assert code == 0 and "3 jobs: 2 done, 1 to do, about " in line
