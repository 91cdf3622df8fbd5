"""What a record says of the code and the memory that made it."""

import mmap
import subprocess

import pytest

from methods import provenance
from methods.backbone.hardware import measure_peak_memory, reset_peak_memory


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    file = tmp_path / "methods" / "provenance.py"
    file.parent.mkdir()
    file.write_text("")
    git(tmp_path, "init", "-q")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    return tmp_path


def test_a_commit_is_one_whatever_tags_there_are(repository):
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "one")
    git(repository, "tag", "-am", "a release", "v1.0")
    found = provenance.find_commit.__wrapped__()
    assert git(repository, "rev-parse", "HEAD").startswith(found["commit"])
    assert len(found["commit"]) == 12 and found["dirty"] is False
    (repository / "methods" / "provenance.py").write_text("changed")
    assert provenance.find_commit.__wrapped__()["dirty"] is True


def test_code_that_no_repository_tracks_has_no_commit(repository):
    assert provenance.find_commit.__wrapped__() == {"commit": None, "dirty": None}


def test_peak_memory_is_of_what_ran_since_the_last_reset():
    reset_peak_memory("cpu")
    before = measure_peak_memory("cpu")
    with mmap.mmap(-1, 100 * 2**20) as large:  # pages of its own: torch may reuse what is free
        for place in range(0, len(large), mmap.PAGESIZE):
            large[place] = 1
    high = measure_peak_memory("cpu")
    assert high > before + 90
    reset_peak_memory("cpu")
    if measure_peak_memory("cpu") == high:
        pytest.skip("this system cannot count anew")
    assert measure_peak_memory("cpu") < high - 90
