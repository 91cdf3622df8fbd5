"""Exports of the tiny random model, and what plain sentence-transformers makes of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent


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
