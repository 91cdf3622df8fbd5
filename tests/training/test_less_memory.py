"""What saves memory in training changes nothing of what is learnt."""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from methods.backbone import recomputation
from methods.training import mntp
from methods.training.arguments import count_parts
from methods.training.mntp import IGNORED, MaskedModel, MaskedTrainer, mntp_loss
from methods.training.recipe import Masking, Recipe
from methods.training.trainer import OutOfMemory

MASKED = [
    "method=llm2vec",
    "recipe.objective=mntp",
    "recipe.masking.length=16",
    "data.sources.mine.columns.text=query",
]
FAST = "recipe.learning_rate=1e-3"


def learn(train, *overrides, out):
    """The weights that a training ends with, and its losses."""
    folder = train(*overrides, FAST, out=out).run()
    return load_file(folder / "adapter_model.safetensors"), pd.read_csv(folder / "loss.csv")


def assert_equal(one, other, within=1e-3):
    """Adam moves a number by the learning rate whatever its gradient, so one that is nearly zero
    may move the other way after a rounding: whole matrices are compared."""
    assert one.keys() == other.keys() and any(part.any() for part in one.values())
    for name in one:
        assert (one[name] - other[name]).norm() <= within * one[name].norm(), name


@pytest.mark.parametrize(
    "what",
    [
        ["method=sgpt"],
        ["method=sgpt", "method.layer=2"],
        ["method=sgpt", "kernel.packed=false"],
        ["method=echo", "recipe.mini_batch=4", "recipe.trainable.dropout=0.3"],
        ["method=llm2vec", "recipe.attention_dropout=0.3", "recipe.trainable.dropout=0.3"],
        [*MASKED, "recipe.trainable.dropout=0.3"],
    ],
)
def test_recomputed_layers_learn_the_same(train, what, monkeypatch):
    recomputed = []
    for name in ("packed_mode", "attention_mode"):
        plain = getattr(recomputation, name)
        monkeypatch.setattr(
            recomputation, name, lambda *a, plain=plain: recomputed.append(a) or plain(*a)
        )
    held, _ = learn(train, *what, "run.gradient_checkpointing=false", out="held")
    assert not recomputed
    again, _ = learn(train, *what, "run.gradient_checkpointing=true", out="recomputed")
    assert recomputed
    assert_equal(held, again, within=1e-6)


def test_a_layer_is_recomputed_as_it_was_run_when_its_pass_is_long_over(encoder):
    """And with the attention of its own pass, whatever was run since."""
    gradients = []
    for recomputes in (False, True):
        backbone = encoder("sgpt", linears="torch").backbone
        model = backbone.model.train()
        if recomputes:
            recomputation.recompute_layers(model)
        embeddings = model.get_input_embeddings().weight.requires_grad_(True)
        embeddings.grad = None
        ids = torch.randint(5, 200, (3, 24), generator=torch.Generator().manual_seed(2))
        labels = ids.masked_fill(torch.arange(24) % 4 > 0, IGNORED)
        head = embeddings.detach()
        two = [
            MaskedModel(backbone, model, head, attention=how, packed=packed)(ids, labels)["loss"]
            for how, packed in (("bidirectional", True), ("causal", False))
        ]
        sum(two).backward()
        gradients.append(embeddings.grad.clone())
        embeddings.requires_grad_(False)
    assert torch.allclose(*gradients, atol=1e-7) and gradients[0].any()


@pytest.mark.parametrize("tokens", [40, 100_000])
def test_mini_batches_in_tokens_learn_the_same_pairs(train, tokens):
    whole, _ = learn(train, "method=sgpt", out="whole")
    parts, _ = learn(train, "method=sgpt", f"run.mini_batch_tokens={tokens}", out="parts")
    assert_equal(whole, parts)


def test_mini_batches_and_accumulated_batches_learn_the_same_masked_tokens(train):
    """A mean over the masked tokens of the whole step, however it is cut."""
    whole, losses = learn(train, *MASKED, out="whole")
    for name, cut in {
        "tokens": ["run.mini_batch_tokens=40"],
        "rows": ["recipe.mini_batch=2"],
        "batches": ["recipe.batch_size=1", "recipe.accumulation=8"],
    }.items():
        parts, cut_losses = learn(train, *MASKED, *cut, out=name)
        assert_equal(whole, parts)
        assert list(cut_losses["loss"]) == pytest.approx(list(losses["loss"]), abs=1e-4)


def test_accumulated_batches_of_pairs_are_one_step_with_negatives_of_their_own(train, prepared):
    job = train("method=sgpt", "recipe.accumulation=3", "recipe.steps=2")
    folder = job.run()
    record = json.loads((folder / "training.json").read_text())
    alone = train("method=sgpt", "recipe.steps=6", out="alone").run()
    assert record["steps"] == 2
    assert record["tokens"] == json.loads((alone / "training.json").read_text())["tokens"]


@pytest.mark.parametrize(
    ("rows", "mini_batch", "parts"), [(8, 8, 1), (8, 3, 4), (6, 4, 2), (7, 6, 7), (5, 99, 1)]
)
def test_a_batch_is_cut_into_equal_parts(rows, mini_batch, parts):
    assert count_parts(rows, mini_batch) == parts


def test_logits_in_chunks_are_the_same_loss(monkeypatch):
    draw = torch.Generator().manual_seed(3)
    hidden = torch.randn(4, 9, 8, generator=draw, requires_grad=True)
    head, labels = torch.randn(11, 8, generator=draw), torch.randint(11, (4, 9), generator=draw)
    found = []
    for chunk in (2048, 5):
        monkeypatch.setattr(mntp, "CHUNK", chunk)
        hidden.grad = None
        loss = mntp_loss(hidden, labels, head)
        loss.backward()
        found.append((loss.detach(), hidden.grad.clone()))
    assert torch.allclose(found[0][0], found[1][0]) and torch.allclose(found[0][1], found[1][1])


def test_held_out_blocks_are_measured_and_not_trained_on(train, monkeypatch):
    seen = []
    plain = MaskedTrainer.__init__

    def watch(self, **options):
        seen.append((options["train_dataset"].blocks_NL, options["held_out"]))
        plain(self, **options)

    monkeypatch.setattr(MaskedTrainer, "__init__", watch)
    held = [*MASKED, "recipe.masking.held_out=3", "run.every=2"]
    with_held, curve = learn(train, *held, out="held")
    blocks, held_out = seen[0]
    assert held_out.shape == (3, 16) and len(blocks) > 3
    found = curve.dropna(subset=["eval_loss"])
    assert list(found["step"]) == [2, 4, 6] and found["eval_loss"].is_monotonic_decreasing
    cut, _ = learn(train, *held, "run.mini_batch_tokens=32", out="cut")
    assert_equal(with_held, cut)
    with pytest.raises(ValueError, match="one block of 16 tokens beyond the 10000 held out; lower"):
        train(*MASKED, "recipe.masking.held_out=10000", out="none").run()


def test_running_out_of_memory_names_what_takes_less(train, monkeypatch):
    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(MaskedModel, "forward", fail)
    with pytest.raises(OutOfMemory, match="step 1 ran out of memory.*run.mini_batch_tokens=2048"):
        train(*MASKED).run()


def test_a_loss_that_takes_a_whole_batch_refuses_mini_batches(train, monkeypatch):
    from methods.training.contrastive import Contrastive

    monkeypatch.setattr(Contrastive, "build_loss", lambda self, setup, model: torch.nn.Module())
    with pytest.raises(ValueError, match="computes a batch at once: leave out recipe.mini_batch"):
        train("method=sgpt", "run.mini_batch_tokens=64").run()


def test_folders_are_named_as_before_these_settings_were_there():
    described = Recipe(steps=1).describe()
    assert "accumulation" not in described and "held_out" not in described["masking"]
    described = Recipe(steps=1, accumulation=2, masking=Masking(held_out=1)).describe()
    assert described["accumulation"] == 2 and described["masking"]["held_out"] == 1


def test_options_of_memory_do_not_rename_the_folder(train):
    names = {
        train(*more, "out=null").folder
        for more in ([], ["run.mini_batch_tokens=64"], ["run.gradient_checkpointing=true"])
    }
    assert len(names) == 1
