"""Where weights come from, and what is said when they do not."""

import hashlib
from pathlib import Path

import pytest

from methods.backbone.sources import Folder, Gguf, Hub, Wheel
from methods.backbone.tiny import make_byte_tokenizer
from tests.data.test_wheels import index, pinned

__all__ = ["index"]  # a fixture


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
    with pytest.raises(ValueError, match="org/name is a local folder.* model=folder"):
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
    make_byte_tokenizer().save_pretrained(folder)
    assert load_encoder("sgpt", model=str(folder), cache=None).encode(["a"]).shape == (1, 32)
    spoil(folder)
    with pytest.raises(ValueError, match=told):
        load_encoder("sgpt", model=str(folder), cache=None)
