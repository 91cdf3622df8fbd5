"""Each job of a sweep has a card of its own. A stand-in for nvidia-smi lists them: none is here."""

import os
import re
import subprocess
import sys
from itertools import pairwise

import pytest

from methods.cli.cards import TAKEN, VISIBLE, WANTED, add_processes, list_cards, take_card
from tests.cli.test_evaluate import base, dec2vec, small_mirror  # noqa: F401

TWO = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa-0)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb-1)"""
SPLIT = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa-0)
  MIG 3g.40gb     Device  0: (UUID: MIG-1111)
  MIG 3g.40gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb-1)"""
TAKE = "import os, time; from methods.cli.cards import take_card; take_card(wait_seconds=0.05); "


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """Let nvidia-smi list cards; locks are this test's own."""
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def lists(text):
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        (tmp_path / "nvidia-smi").chmod(0o755)

    return lists


def test_cards_are_those_that_may_be_used(cards, monkeypatch):
    cards(TWO)
    assert list_cards() == ["GPU-aaaa-0", "GPU-bbbb-1"]
    cards(SPLIT)
    assert list_cards() == ["MIG-1111", "MIG-2222", "GPU-bbbb-1"]
    for visible, expected in (("2,5", ["2", "5"]), ("", [])):
        monkeypatch.setenv(VISIBLE, visible)
        assert list_cards() == expected


def test_the_launcher_has_a_process_for_each_card(cards, monkeypatch):
    cards(TWO)
    words = ["method=sgpt,echo", "hydra/launcher=gpus"]
    assert add_processes(words) == [*words, "hydra.launcher.n_jobs=2"]
    for kept in (words[:1], [*words, "hydra.launcher.n_jobs=1"]):
        assert add_processes(kept) == kept
    monkeypatch.setenv(VISIBLE, "")
    with pytest.raises(ValueError, match="finds no NVIDIA card .*use hydra/launcher=processes"):
        add_processes(words)


def test_no_two_processes_have_a_card(cards):
    cards(TWO)
    environment = {**os.environ, WANTED: "true"}
    code = TAKE + "start = time.monotonic(); time.sleep(0.5); take_card(); "
    code += f"print(os.environ[{VISIBLE!r}], start, time.monotonic())"
    command = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, env=environment, **pipes) for _ in range(3)]
    lines = [worker.communicate()[0].split() for worker in workers]
    held = sorted((card, float(start), float(end)) for card, start, end in lines)
    assert {card for card, _, _ in held} == {"GPU-aaaa-0", "GPU-bbbb-1"}
    for (card, _, end), (other, start, _) in pairwise(held):
        assert card != other or end <= start  # the third waited


def test_a_process_that_is_not_of_the_launcher_takes_none(cards, monkeypatch):
    cards(TWO)
    monkeypatch.delenv(WANTED, raising=False)
    code = TAKE + f"print(os.environ.get({VISIBLE!r}), os.environ.get({TAKEN!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["None", "None"]


def test_a_job_without_any_card_ends_instead_of_waiting_for_one(monkeypatch):
    monkeypatch.setenv(WANTED, "true")
    monkeypatch.setenv(VISIBLE, "")
    with pytest.raises(ValueError, match="none is found; use hydra/launcher=processes"):
        take_card()


def test_the_jobs_of_a_sweep_share_the_cards(cards, base, tmp_path):  # noqa: F811
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    cards(TWO)
    sweep = ["-m", "method=sgpt,echo,cpt_text", "model.device=cpu", "hydra/launcher=gpus"]
    code, output = dec2vec("evaluate", *sweep, *base, cwd=tmp_path)
    assert code == 0, output
    assert {*re.findall(r"this process uses card (\S+)", output)} <= {"GPU-aaaa-0", "GPU-bbbb-1"}
    assert len(re.findall(r"this process uses card", output)) == 2  # a process keeps its card
    assert len(list(tmp_path.rglob("run.json"))) == 3
