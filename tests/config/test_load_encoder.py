"""load_encoder: its identity for mteb, its store, its plugins, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mteb
import numpy as np
import pytest
import torch
from mteb.cache import ResultCache
from mteb.mocks.mock_tasks import MockSTSTask

from methods import load_encoder
from methods.config.resolve import compose, resolve_evaluation
from methods.config.settings import TaskList
from methods.encoding.encoder import Encoder
from methods.evaluation.job import Job
from tests.backbone.architectures import SMALL
from tests.cli.test_evaluate import write_readme_files

ROOT = Path(__file__).parents[2]
TINY = {"model": "tiny", "dtype": "float32", "cache": None}
CELLS = [
    ("echo", {}),
    ("sgpt", {}),
    ("prompteol", {}),
    ("sgpt", {"layer": 1}),
    ("sgpt", {"pooling": "mean"}),
    ("sgpt", {"attention": "bidirectional"}),
    ("sgpt", {"normalize": True}),
    ("sgpt", {"max_length": 7}),
    ("sgpt", {"template": "brackets"}),
    ("sgpt", {"dtype": "bfloat16"}),
    (
        "sgpt",
        {"source": {"_target_": "methods.backbone.sources.Random", "config": SMALL, "seed": 9}},
    ),
]


def score(encoder, cache):
    result = mteb.evaluate(
        encoder, MockSTSTask(), cache=cache, co2_tracker=False, show_progress_bar=False
    )
    return result.task_results[0].get_score()


def test_every_cell_has_results_of_its_own_in_one_mteb_cache(tmp_path):
    cache = ResultCache(tmp_path)
    for name, fields in CELLS:
        encoder = load_encoder(name, **{**TINY, **fields})
        assert score(encoder, cache) == score(encoder, None), (name, fields)
    name = MockSTSTask.metadata.name
    stored = list((tmp_path / "results").rglob(f"{name}.json"))
    assert len(stored) == len(CELLS)


@pytest.mark.parametrize(
    ("method", "fields", "overrides"),
    [
        ("echo", {}, []),
        ("sgpt", {"layer": 3}, ["layer=-1"]),
        ("sgpt", {"layer": -2, "pooling": "mean"}, ["layer=2", "pooling=mean"]),
        ("llm2vec", {}, []),
        ("llm2vec", {"instructions": "e5"}, ["instructions=e5"]),
        ("e5_instruct", {"max_length": 9}, ["method.max_length=9"]),
    ],
)
def test_a_cell_is_the_same_to_mteb_from_python_as_from_the_command_line(
    method, fields, overrides, tmp_path
):
    chosen = [f"method={method}", "model=tiny", "model.dtype=float32", *overrides]
    job = Job(resolve_evaluation(compose(chosen), name=method), TaskList(names=["STS12"]), tmp_path)
    ours = load_encoder(method, **{**TINY, **fields}).mteb_model_meta
    theirs = job.records[0].meta
    assert (ours.name, ours.revision) == (theirs.name, theirs.revision)
    assert ours.experiment_kwargs == theirs.experiment_kwargs


def test_an_encoder_made_by_hand_has_an_identity_too(encoder):
    loaded = encoder("sgpt")
    by_hand = Encoder(loaded.backbone, loaded.method)
    assert by_hand.mteb_model_meta.experiment_kwargs == loaded.mteb_model_meta.experiment_kwargs


def test_encoders_share_stored_vectors_which_equal_computed_ones(tmp_path):
    texts = ["a dog", "a cat and a dog", ""]
    options = {**TINY, "cache": tmp_path / "store"}
    first, again = load_encoder("sgpt", **options), load_encoder("sgpt", **options)
    computed = first.encode(texts)
    assert np.array_equal(again.encode(texts), computed)
    assert again.shared.usage.tokens_computed == 0 < first.shared.usage.tokens_computed
    assert np.allclose(load_encoder("sgpt", **TINY).encode(texts), computed, atol=1e-6)
    assert load_encoder("sgpt", **TINY).shared.store is None
    assert load_encoder("sgpt", model="tiny").shared.store.folder == Path(
        os.environ["DEC2VEC_EMBEDDINGS"]
    )


@pytest.mark.parametrize("change", ["weights", "hook", "forward", "training"])
def test_a_model_that_was_changed_neither_takes_nor_gives_stored_vectors(change, tmp_path, caplog):
    source = {"_target_": "methods.backbone.sources.Random", "config": SMALL, "seed": 3}
    loaded = load_encoder("sgpt", **{**TINY, "source": source, "cache": tmp_path})
    before = loaded.encode(["a dog"])
    layer = loaded.model.layers[1]
    if change == "weights":
        with torch.no_grad():
            loaded.model.embed_tokens.weight.mul_(2).add_(0.5)
    elif change == "hook":
        layer.register_forward_hook(lambda _module, _args, states: states + 1.0)
    elif change == "forward":
        plain = layer.forward
        layer.forward = lambda *arguments, **more: plain(*arguments, **more) + 1.0
    else:
        loaded.model.train()
    after = loaded.encode(["a dog"])
    assert change == "training" or not np.allclose(after, before, atol=1e-3)
    assert "changed after it was loaded" in caplog.text and loaded.shared.store is None
    again = load_encoder("sgpt", **{**TINY, "source": source, "cache": tmp_path})
    assert again.model is loaded.model and np.array_equal(again.encode(["a dog"]), after)
    from methods.backbone import loader

    loader._load.cache_clear()
    fresh = load_encoder("sgpt", **{**TINY, "source": source, "cache": tmp_path})
    assert np.array_equal(fresh.encode(["a dog"]), before)


def test_a_plugin_beside_config_dir_is_found_from_python_in_a_new_process(tmp_path):
    write_readme_files(tmp_path)
    code = (
        "import json; from methods import load_encoder; "
        "e = load_encoder('shout', model='tiny', config_dir='mine', emphasis='?'); "
        "print(json.dumps([list(e.encode(['a']).shape), e.method.emphasis]))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[1, 32], "?"]


def test_two_plugins_of_one_module_name_are_not_taken_for_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    write_readme_files(tmp_path)
    for folder in ("one", "two"):
        shutil.copytree(tmp_path / "mine", tmp_path / folder)
        (tmp_path / folder / "shout.py").rename(tmp_path / folder / "twice_named.py")
        yaml = tmp_path / folder / "method" / "shout.yaml"
        yaml.write_text(yaml.read_text().replace("shout.Shout", "twice_named.Shout"))
    load_encoder("shout", **TINY, config_dir=tmp_path / "one")
    with pytest.raises(ValueError, match="has imported twice_named from .*one.*; rename one"):
        load_encoder("shout", **TINY, config_dir=tmp_path / "two")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": ["mean", "last"]}, r"pooling=\['mean', 'last'\], but an encoder has one"),
        ({"layer": "all"}, "layer='all', but an encoder has one layer"),
        ({"layer": [1, 2]}, r"layer=\[1, 2\], but an encoder has one layer"),
        ({"layer": range(3)}, "an encoder has one layer"),
        ({"layer": "last"}, "layer='last'; it takes a whole number"),
        ({"layer": True}, "layer=True; it takes a whole number"),
        ({"layer": None}, "layer=None; it takes a whole number"),
        ({"normalize": "maybe"}, "normalize='maybe'; it takes true or false"),
        ({"normalize": (True, False)}, "an encoder has one normalize"),
        ({"attention": ["causal"]}, "an encoder has one attention"),
        ({"dtype": ["float32", "bfloat16"]}, "an encoder has one dtype"),
        ({"max_length": "lots"}, "max_length='lots'; it takes a whole number"),
        ({"max_length": 7.5}, "max_length=7.5; it takes a whole number"),
        ({"pooling": lambda x: x}, "pooling=<function .*; it takes a string"),
        ({"layr": 1}, "layr is no field .* did you mean layer?"),
        ({"adapters": ["X"]}, "give adapter=DIR"),
        ({"adaptor": "X"}, "did you mean adapter?"),
        ({"adapter": ""}, "adapter='' is no adapter"),
        ({"adapter": {"a": 1}}, "is no adapter"),
        ({"cache": False}, "cache=False is unknown; valid: 'auto'"),
        ({"cache": ""}, "cache='' is unknown"),
        ({"config_dir": "/no/where"}, "'/no/where' is no folder"),
        ({"instructions": "e6"}, "instructions 'e6' is unknown; valid: .*did you mean e5?"),
        ({"method": "eco"}, "method 'eco' is unknown; valid: .*did you mean echo?"),
    ],
)
def test_what_an_encoder_cannot_have_is_refused_by_name(fields, message):
    given = {**TINY, **fields}
    with pytest.raises(ValueError, match=message):
        load_encoder(given.pop("method", "sgpt"), **given)


def test_values_of_numpy_and_torch_are_taken(encoder):
    loaded = encoder("sgpt", layer=np.int64(1), dtype=torch.float32, normalize=np.bool_(True))
    assert loaded.method.layer == 1 and loaded.method.normalize is True
    assert encoder("prompteol", demonstration=["A man", "man"]).method.demonstration[1] == "man"
    assert load_encoder("sentence_encoder", **TINY).backbone.identity["name"] == "dec2vec/tiny"
