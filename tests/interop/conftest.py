"""Exports of the tiny random model, what plain sentence-transformers makes of them, and its models
made by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
TEXTS = ["a cat sleeps", "", "  blanks around ", "two\nlines", "a longer text than the others are"]


def build(*overrides, config_dir=None, adapter=False):
    """The export that a command line names."""
    from methods.cli.export import build_adapter_export, build_export
    from methods.config.plugins import make_importable
    from methods.config.resolve import compose

    words = list(overrides)
    if config_dir is not None:
        make_importable(config_dir)
    config = compose(words, verb="export", config_dir=config_dir)
    name = next((w.partition("=")[2] for w in words if w.startswith("method=")), "echo")
    make = build_adapter_export if adapter else build_export
    return make(config, name=name, overrides=words, config_dir=config_dir)


@pytest.fixture(scope="session")
def reload(tmp_path_factory):
    """Load folders in a process without dec2vec; return {NAME.what: array} of these texts."""

    def load(folders, texts):
        place = tmp_path_factory.mktemp("reload")
        (place / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment |= {"HF_MODULES_CACHE": str(place / "modules"), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, str(HERE / "reload.py"), "texts.json", "out.npz", *map(str, folders)],
            cwd=place,
            env=environment,
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return dict(np.load(place / "out.npz"))

    return load


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, encoder):
    """The tiny model as transformers saves one, in float32, with a padding token."""
    folder = tmp_path_factory.mktemp("tiny")
    loaded = encoder("sgpt", linears="torch")
    loaded.model.save_pretrained(folder)
    tokenizer = loaded.backbone.tokenizer
    tokenizer.pad_token = tokenizer.eos_token
    try:
        tokenizer.save_pretrained(folder)
    finally:
        tokenizer.pad_token = None
    return folder


@pytest.fixture(scope="session")
def make_model(tiny_folder):
    """Return a function from a pooling and modules behind it to a SentenceTransformer."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    def make(pooling, *modules, first=Transformer, include_prompt=True, **options):
        transformer = first(str(tiny_folder))
        parts = [transformer, Pooling(32, pooling, include_prompt=include_prompt), *modules]
        return SentenceTransformer(modules=parts, device="cpu", **options)

    return make


@pytest.fixture(scope="session")
def make_appended():
    """Return a function that lets a model's tokenizer put EOS behind every text by itself."""
    from tokenizers.processors import TemplateProcessing

    def append(model, template="$A </s>"):
        model.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=template, special_tokens=[("<s>", 1), ("</s>", 2)]
        )
        return model

    return append
