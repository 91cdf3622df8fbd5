"""What the trainers are told about cards. None is here: torch's answers about them are replaced."""

from types import SimpleNamespace

import pytest
import torch
from sentence_transformers import SentenceTransformerTrainingArguments

from methods.training.arguments import build_arguments
from methods.training.recipe import Recipe, RunOptions


def arguments(folder, device):
    backbone = SimpleNamespace(choices={"device": device}, identity={"dtype": "bfloat16"})
    return build_arguments(
        SentenceTransformerTrainingArguments,
        Recipe(steps=1, batch_size=32),
        RunOptions(),
        prepared=SimpleNamespace(backbone=backbone, method=SimpleNamespace(layer=-1)),
        folder=folder,
        steps=1,
        processes=1,
    )


@pytest.fixture
def eight_cards(monkeypatch):
    answers = {"is_available": True, "device_count": 8, "current_device": 0}
    for name, value in {**answers, "set_device": None, "is_bf16_supported": True}.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, _value=value, **__: _value)


def test_one_process_trains_on_one_card(eight_cards, tmp_path):
    found = arguments(tmp_path, "cuda:0")
    assert (str(found.device), found.n_gpu, found.train_batch_size) == ("cuda:0", 1, 32)


def test_another_card_is_chosen_by_what_is_visible(eight_cards, tmp_path):
    with pytest.raises(ValueError, match="runs on cuda:0, not on cuda:3.*VISIBLE_DEVICES=3"):
        arguments(tmp_path, "cuda:3")
