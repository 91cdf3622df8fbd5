"""Adapters: merged with their trained pooling into a folder, and as a folder for PEFT's loaders."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from methods.interop.adapter_folder import run_adapter_export
from methods.interop.equality import TEXTS
from methods.interop.export import run_export
from tests.interop.conftest import build
from tests.training.conftest import WORDS


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The tiny model as a folder, as a user has one."""
    from methods.backbone.loader import build_backbone
    from methods.config.resolve import build_backbone_spec, compose

    folder = tmp_path_factory.mktemp("base") / "tiny"
    words = ["method=sgpt", "model=tiny", "model.dtype=float32", "kernel.linears=torch"]
    config = compose(words)
    backbone = build_backbone(build_backbone_spec(config.model, kernel=config.kernel))
    backbone.model.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def train(tmp_path_factory, base):
    """Train a few steps on the folder; return the adapter's folder."""
    from methods.config.resolve import compose
    from methods.training.config import build_train_job

    place = tmp_path_factory.mktemp("trained")
    rows = [{"query": f"{a} {b}", "positive": f"so {a}"} for a in WORDS for b in WORDS[:4]]
    (place / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def make(name, *overrides):
        given = [
            "model=folder",
            f"model.source.path={base}",
            "model.dtype=float32",
            "recipe=demo",
            "data=file",
            f"data.sources.mine.path={place / 'pairs.jsonl'}",
            "recipe.steps=4",
            "recipe.batch_size=8",
            "recipe.learning_rate=0.01",
            f"out={place / name}",
            *overrides,
        ]
        job = build_train_job(compose(given, verb="train"), title="demo", overrides=given)
        return job.run()

    return make


def words(base, adapter, out, *more):
    return [
        "method=sgpt",
        "model=folder",
        f"model.source.path={base}",
        f"adapter={adapter}",
        f"out={out}",
        *more,
    ]


@pytest.mark.parametrize("kind", ["none", "latent_attention", "multi_layer"])
def test_a_trained_adapter_and_its_pooling_are_in_the_folder(kind, base, train, reload, tmp_path):
    sizes = f"{{kind: {kind}, latents: 4, heads: 2, head_size: 8}}"
    more = [] if kind == "none" else [f"recipe.trainable.pooler={sizes}"]
    adapter = train(kind, *more)
    job = build(*words(base, adapter, tmp_path / "x"))
    written = run_export(job)
    assert written.equality.same_ids == 48 and not written.equality.deviations
    assert (tmp_path / "x" / "pooler.safetensors").is_file() == (kind != "none")

    from methods import load_encoder

    options = {"model": base, "dtype": "float32", "cache": None}
    trained = load_encoder("sgpt", adapter=adapter, **options).encode(list(TEXTS))
    plain = load_encoder("sgpt", **options).encode(list(TEXTS))
    found = reload([tmp_path / "x"], list(TEXTS))["x.query"]
    assert np.allclose(found, trained, atol=1e-4) and not np.allclose(found, plain, atol=1e-2)


def test_peft_loads_the_adapter_by_itself(base, train, tmp_path):
    adapter = train("lora")
    out = tmp_path / "lora"
    cosine = run_adapter_export(build(*words(base, adapter, out, "format=adapter"), adapter=True))
    assert cosine > 0.99999
    settings = json.loads((out / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(base.resolve())
    assert settings["task_type"] == "FEATURE_EXTRACTION"
    assert "AutoPeftModelForFeatureExtraction" in (out / "README.md").read_text()

    from peft import AutoPeftModelForFeatureExtraction

    from methods import load_encoder

    model = AutoPeftModelForFeatureExtraction.from_pretrained(out).eval()
    merged = load_encoder("sgpt", model=base, adapter=out, dtype="float32", cache=None)
    ids = torch.tensor([[5, 9, 80, 33, 12]])
    with torch.inference_mode():
        one = model(ids).last_hidden_state
        other = merged.backbone.model(ids).last_hidden_state
    assert torch.allclose(one, other, atol=1e-4)
    assert merged.method.max_length == 2048  # its training.json came along


def test_what_peft_cannot_load_is_refused(base, train, tmp_path):
    adapter, biased = train("first"), train("biased", "recipe.trainable.kind=added_bias")

    def export(*more, model=base, given=adapter):
        line = words(model, given, tmp_path / "x", "format=adapter", *more)
        return run_adapter_export(build(*line, adapter=True))

    with pytest.raises(ValueError, match="is not what PEFT's own loaders make of it"):
        export(given=biased)
    with pytest.raises(ValueError, match="merged one after the other, which PEFT's loaders do not"):
        export(given=f"[{adapter},{biased}]")
    line = ["method=sgpt", "model=tiny", f"out={tmp_path / 'x'}", "format=adapter"]
    with pytest.raises(ValueError, match="none is given; give adapter=DIR"):
        run_adapter_export(build(*line, adapter=True))
    with pytest.raises(ValueError, match="task has no effect on format=adapter"):
        build(*line, "task=STS12", adapter=True)
    assert not Path(tmp_path / "x").exists()
