"""Find the folders that no command line names: the configs, and the user's cache."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"


def find_cache_folder() -> Path:
    """Return where fetched and converted files lie: $DEC2VEC_CACHE, else the user's cache."""
    if folder := os.environ.get("DEC2VEC_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "dec2vec"


def find_embeddings_folder() -> Path:
    """Return where embeddings are cached by default: $DEC2VEC_EMBEDDINGS, else the user's cache."""
    folder = os.environ.get("DEC2VEC_EMBEDDINGS")
    return Path(folder).expanduser() if folder else find_cache_folder() / "embeddings"
