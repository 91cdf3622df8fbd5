"""A pooling from outside: one function in DIR/pooling.py, found wherever a pooling is named."""

import csv
import gzip
import json
import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from methods import load_encoder
from methods.echo import Echo
from methods.pooling_names import find_pooling, identify_pooling
from tests.cli.test_evaluate import base, dec2vec, small_mirror  # noqa: F401
from tests.cli.test_train import pairs

MAX = '''"""Poolings of mine."""

from scale import SCALE


def max(hidden_BLD, pool_mask_BL):
    """The largest value of each dimension."""
    states_BLD = hidden_BLD.masked_fill(~pool_mask_BL[:, :, None], float("-inf"))
    return SCALE * states_BLD.amax(dim=1)


def _private(hidden_BLD, pool_mask_BL):
    raise NotImplementedError
'''
ROOT = Path(__file__).parents[2]
TEXTS = ["A man is playing a guitar.", "短い文", "word " * 40, "", "Is it raining?"]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with a pooling `max` and a module that it imports."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))  # undone after the test
    monkeypatch.delitem(sys.modules, "scale", raising=False)  # another test's
    (folder / "pooling.py").write_text(MAX)
    (folder / "scale.py").write_text("SCALE = 1.0\n")
    return folder


def tiny(method, mine, **fields):
    fields = {"cache": None, "pooling": "max", "config_dir": mine, **fields}
    return load_encoder(method, model="tiny", dtype="float32", **fields)


def plain_loop(encoder, texts):
    """One text at a time through the model itself, the maximum over what the method may pool."""
    method, vectors = encoder.method, []
    inputs = method.prepare_inputs(texts, tokenizer=encoder.backbone.tokenizer)
    for ids, mask in zip(inputs.ids, inputs.pool_mask, strict=True):
        seen = None if method.attention == "causal" else torch.zeros(1, 1, len(ids), len(ids))
        with torch.inference_mode():
            states_LD = encoder.model(torch.tensor([ids]), attention_mask=seen)[0][0]
        vector_D = states_LD[torch.tensor(mask)].max(dim=0).values.numpy()
        vectors.append(vector_D / np.linalg.norm(vector_D) if method.normalize else vector_D)
    return np.stack(vectors)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("method", ["echo", "llm2vec", "e5_instruct", "sgpt"])
def test_it_pools_the_positions_of_the_mask_packed_and_padded(method, packed, mine):
    encoder = tiny(method, mine, packed=packed)
    assert (encoder.method.attention in encoder.backbone.packed) == packed
    assert np.abs(encoder.encode(TEXTS) - plain_loop(encoder, TEXTS)).max() < 1e-5


def test_the_one_of_the_readme_does_what_it_says(tmp_path):
    readme = (ROOT / "methods" / "README.md").read_text()
    (block,) = re.findall(r"```python\n *# mine/pooling.py\n(.+?)```", readme, re.S)
    (tmp_path / "pooling.py").write_text(textwrap.dedent(block))
    encoder = tiny("echo", tmp_path)
    assert np.abs(encoder.encode(TEXTS) - plain_loop(encoder, TEXTS)).max() < 1e-5


def records(folder):
    found = {}
    for file in sorted(folder.rglob("record/run.json")):
        record = json.loads(file.read_text())
        found[record["method"], record["pooling"]] = file, record
    return found


def test_the_command_line_takes_it_in_lists_sweeps_reports_and_reruns(tmp_path, base, mine):  # noqa: F811
    given = ["--config-dir", "mine", "model.dtype=float32", *base]
    sweep = ["-m", "method=sgpt,echo", "pooling=[mean,max]", "hydra/launcher=processes"]
    code, output = dec2vec("evaluate", *given, *sweep, cwd=tmp_path)
    assert code == 0, output
    found = records(tmp_path)
    assert set(found) == {(m, p) for m in ("sgpt", "echo") for p in ("mean", "max")}
    file, record = found["echo", "max"]
    assert record["method_config"]["pooling"] == "max" and "echo" in file.parents[1].name
    encoder = tiny("echo", mine)
    assert encoder.mteb_model_meta.experiment_kwargs["digest"] == record["digest"]

    (examples,) = (file.parent / "examples").glob("*STS12*")
    with gzip.open(examples, "rt") as lines:
        values = [float(row["value"]) for row in csv.DictReader(lines)]
    one, other = (
        plain_loop(encoder, [text.format(i if square == 1 else i * i) for i in range(12)])
        for text, square in (("text {}", 1), ("text number {}", 2))
    )
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert np.abs(np.array(values) - cosines).max() < 1e-5

    code, output = dec2vec("report", cwd=tmp_path)
    assert code == 0 and "| echo (max)" in output and "| sgpt (mean)" in output, output
    code, output = dec2vec("rerun", str(file), cwd=tmp_path)
    assert code == 0 and "largest difference 0.0000" in output, output
    code, output = dec2vec("evaluate", *given[2:], "method=echo", "pooling=max", cwd=tmp_path)
    assert code != 0 and "pooling 'max' is unknown" in output and "--config-dir DIR" in output


def test_try_shows_it(tmp_path, mine):
    given = ["--config-dir", "mine", "method=echo,sgpt", "model=tiny", "pooling=max"]
    code, output = dec2vec("try", "a cat", "a dog", *given, cwd=tmp_path)
    assert code == 0 and "with pooling=max" in output, output


def test_what_is_trained_by_it_is_encoded_by_it(tmp_path, base, mine):  # noqa: F811
    data = ["data=file", f"data.sources.mine.path={pairs(tmp_path)}", "data.compare_with=[]"]
    given = ["--config-dir", "mine", "model=tiny", "model.dtype=float32", "recipe=demo", *data]
    given += ["recipe.steps=2", "recipe.batch_size=8", "method.pooling=max", "out=adapter"]
    code, output = dec2vec("train", *given, cwd=tmp_path)
    assert code == 0 and "dec2vec evaluate --config-dir mine adapter=adapter" in output, output
    trained = tmp_path / "adapter"
    assert json.loads((trained / "training.json").read_text())["method"]["pooling"] == "max"
    encoder = load_encoder(None, model="tiny", adapter=str(trained), config_dir=mine, cache=None)
    assert identify_pooling(encoder.method.pooling)[0] == "max"
    code, output = dec2vec("rerun", "adapter", cwd=tmp_path)
    assert code == 0 and "within the tolerance" in output, output
    code, output = dec2vec(
        "evaluate", "--config-dir", "mine", "adapter=adapter", *base, cwd=tmp_path
    )
    assert code == 0 and {pooling for _, pooling in records(tmp_path)} == {"max"}, output
    with pytest.raises(ValueError, match="pooling 'max' is unknown; valid: last, mean, wei"):
        load_encoder(None, model="tiny", adapter=str(trained), cache=None)

    (mine / "pooling.py").write_text(MAX.replace("SCALE *", "2 * SCALE *"))
    code, output = dec2vec("train", *given, cwd=tmp_path)  # another pooling, another training
    assert code != 0 and "finished training with other settings: method.pooling is" in output, (
        output
    )


def test_what_was_cached_before_an_edit_is_not_used_after_it(mine, tmp_path):
    def encoded(encoder):
        vectors = encoder.encode(["a dog"])
        digest = encoder.mteb_model_meta.experiment_kwargs["digest"]
        return vectors, encoder.shared.usage.tokens_computed, digest

    store = tmp_path / "store"
    vectors, computed, digest = encoded(tiny("echo", mine, cache=store))
    assert computed > 0
    (mine / "pooling.py").write_text(MAX + "\n# a comment\n")
    assert encoded(tiny("echo", mine, cache=store))[1:] == (0, digest)
    (mine / "pooling.py").write_text(MAX.replace("SCALE *", "2 * SCALE *"))
    doubled, computed, other = encoded(tiny("echo", mine, cache=store))
    assert computed > 0 and other != digest and np.allclose(doubled, 2 * vectors)
    assert encoded(tiny("echo", mine, cache=store))[1] == 0


def test_an_edit_of_a_module_that_it_imports_counts(mine):
    before = find_pooling("max", mine).code
    (mine / "scale.py").write_text("SCALE = 1.0  # a comment\n")
    assert find_pooling("max", mine).code == before
    (mine / "scale.py").write_text("SCALE = 2.0\n")
    assert find_pooling("max", mine).code != before


def test_two_folders_may_each_have_one_of_a_name_and_an_edit_is_seen_in_one_process(mine):
    other = mine.parent / "other"
    other.mkdir()
    body = "def max(hidden_BLD, pool_mask_BL):\n    return {}hidden_BLD[:, 0]\n"
    (other / "pooling.py").write_text(body.format(""))
    first, second = tiny("sgpt", mine), tiny("sgpt", other)
    assert not np.allclose(first.encode(TEXTS), second.encode(TEXTS))
    assert np.allclose(first.encode(TEXTS), plain_loop(first, TEXTS), atol=1e-5)
    (other / "pooling.py").write_text(body.format("-"))
    assert np.allclose(tiny("sgpt", other).encode(TEXTS), -second.encode(TEXTS))
    assert first.method.pooling == second.method.pooling == "max"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "mx",
            MAX,
            r"'mx' is unknown; valid: last, mean, weighted_mean, max; did you mean max\? To add",
        ),
        ("eos", MAX, "valid: last, mean, weighted_mean, max. To pool an EOS token use pooling=las"),
        ("_private", MAX, "pooling '_private' is unknown"),
        ("mean", "def mean(h, m):\n    return h\n", "mean is built in and defined in .*pooling.py"),
        ("max", "def max(h):\n    return h\n", "cannot be called as a pooling .* it takes hidden"),
        ("max", "def max(h, m):\n  return h\nif", "pooling.py cannot be parsed: .*line 3"),
        ("max", "import nothing_here\n" + MAX, "cannot be run: ModuleNotFoundError: No module n"),
    ],
)
def test_what_is_no_pooling_is_told(name, text, message, mine):
    (mine / "pooling.py").write_text(text)
    with pytest.raises(ValueError, match=message):
        tiny("echo", mine, pooling=name)


def test_a_pooling_that_gives_no_vector_a_text_is_told(mine):
    (mine / "pooling.py").write_text("def max(h, m):\n    return h\n")
    with pytest.raises(ValueError, match="Echo.pool returned .* it returns a float tensor"):
        tiny("echo", mine).encode(["a", "b c"])


def test_a_method_made_by_hand_takes_it_too(mine):
    found = find_pooling("max", mine)
    assert Echo(pooling=found).pooling == "max" and find_pooling(found) is found
    with pytest.raises(ValueError, match="To add one write a function of that name in DIR/pool"):
        Echo(pooling="max")
