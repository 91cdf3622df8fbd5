"""One configuration language: the verbs share their keys, and old spellings are read as the new."""

import logging

import pytest
from omegaconf import OmegaConf

from methods import load_encoder
from methods.config.names import CONF, list_root_keys
from methods.config.renamed import RENAMED, rename_overrides
from methods.config.resolve import compose, resolve_evaluation
from methods.config.settings import build_task_list, get_section
from methods.training.config import build_train_job

SHARED = ["pooling=mean", "layer=1", "attention=bidirectional", "normalize=true", "model=tiny"]
SHARED += ["kernel.packed=false", "kernel.attention=eager", "mirror=DIR", "instructions=llm2vec"]
SHARED += ["cache.folder=null", "report=sts", "runs=elsewhere", "model.batch_tokens=512"]


def test_what_base_has_every_verb_has():
    for verb in ("evaluate", "train"):
        text = (CONF / f"{verb}.yaml").read_text(encoding="utf-8")
        assert "defaults:\n  - base " in text
        assert {"model", "instructions", "kernel", "cache", "mirror", "pooling"} <= {
            *list_root_keys(verb)
        }


def test_the_same_words_mean_the_same_in_both_verbs():
    evaluated = resolve_evaluation(compose(["method=sgpt", *SHARED]), name="sgpt")
    (cell,) = evaluated.cells
    config = compose(["recipe=demo", "method=sgpt", *SHARED], verb="train")
    trained = build_train_job(config, title="demo", overrides=[])
    axes = ("attention", "pooling", "layer", "normalize")
    assert [getattr(cell, axis) for axis in axes] == ["bidirectional", "mean", 1, True]
    assert [getattr(trained.method, axis) for axis in axes] == ["bidirectional", "mean", 1, True]
    for spec in (evaluated.spec, trained.spec):
        assert (spec.kernel, spec.packed, spec.batch_tokens) == ("eager", False, 512)
    assert trained.instructions == evaluated.instructions
    assert trained.instructions.source == "llm2vec" and trained.mirror == "DIR"


@pytest.mark.parametrize("axis", ["pooling=[last,mean]", "layer=all", "normalize=null"])
def test_a_training_has_one_value_of_an_axis(axis):
    config = compose(["recipe=demo", axis], verb="train")
    with pytest.raises(ValueError, match="but a training has one"):
        build_train_job(config, title="demo", overrides=[])


def test_packing_that_is_asked_for_and_cannot_be_is_an_error():
    given = ["recipe=demo", "kernel.packed=true", "recipe.attention_dropout=0.1"]
    config = compose(given, verb="train")
    with pytest.raises(ValueError, match="kernel.packed=true, but not with"):
        build_train_job(config, title="demo", overrides=[])


@pytest.mark.parametrize(
    ("verb", "old", "new"),
    [
        ("evaluate", "tasks.mirror=DIR", {"mirror": "DIR"}),
        ("evaluate", "+tasks.mirror=DIR", {"mirror": "DIR"}),
        ("evaluate", "model.kernel=eager", {"kernel.attention": "eager"}),
        ("train", "model.packed=false", {"kernel.packed": False}),
        ("train", "run.packed=true", {"kernel.packed": "auto"}),
        ("train", "run.packed=false", {"kernel.packed": False}),
        ("train", "model.linears=torch", {"kernel.linears": "torch"}),
    ],
)
def test_an_old_spelling_is_read_as_the_new_one(verb, old, new, caplog):
    given = {"evaluate": "method=sgpt", "train": "recipe=demo"}[verb]
    with caplog.at_level(logging.INFO):
        config = compose([given, old], verb=verb)
    assert {key: OmegaConf.select(config, key) for key in new} == new
    assert f"is now {next(iter(new))}" in caplog.text


def test_every_new_name_is_a_key():
    for verb, renamed in RENAMED.items():
        assert {new.partition(".")[0] for new in renamed.values()} <= {*list_root_keys(verb)}
        assert rename_overrides(["method=sgpt"], verb=verb) == ["method=sgpt"]


def test_a_yaml_of_ones_own_may_still_say_what_was_renamed(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text("names: [STS12]\nmirror: HERE\n")
    (tmp_path / "model").mkdir()
    source = "source: {_target_: methods.backbone.sources.Hub, id: a/b}"
    own = f"name: me/mine\nkernel: eager\n{source}\n"
    (tmp_path / "model" / "mine.yaml").write_text(own)
    config = compose(["method=sgpt", "tasks=mine", "model=mine"], config_dir=str(tmp_path))
    assert resolve_evaluation(config, name="sgpt").spec.kernel == "eager"
    tasks = get_section(config, "tasks")
    assert build_task_list(tasks, key="tasks", mirror=config.mirror).mirror == "HERE"
    with pytest.raises(ValueError, match=r"mirror=OTHER and tasks.mirror=HERE are both given"):
        build_task_list(tasks, key="tasks", mirror="OTHER")


def test_a_page_with_an_old_attribute_is_refused(tmp_path):
    (tmp_path / "page_of_old.py").write_text(
        "from methods.sgpt import SGPT\n\n\nclass Old(SGPT):\n    instructed = True\n"
    )
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "old.yaml").write_text(
        "defaults: [sgpt]\n_target_: page_of_old.Old\n", encoding="utf-8"
    )
    with pytest.raises(ValueError, match="Old.instructed is now uses_instructions"):
        load_encoder("old", model="tiny", config_dir=tmp_path)
