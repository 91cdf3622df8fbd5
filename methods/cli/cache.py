"""`dec2vec cache info|clear [--folder DIR]`: the embeddings kept on disk."""

import argparse
import sys
from pathlib import Path

from omegaconf import OmegaConf

from methods.backbone.cache import open_cache
from methods.folders import CONF, embeddings_folder


def main() -> None:
    """Entry point of the verb."""
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    parser.add_argument("action", choices=["info", "clear"])
    parser.add_argument("--folder", type=Path, help=f"of the cache [{embeddings_folder()}]")
    arguments = parser.parse_args()
    folder = arguments.folder or embeddings_folder()
    if not (folder / "data.mdb").is_file():
        sys.exit(f"dec2vec cache: there is none in {folder}; valid: a folder given as cache.folder")
    cache = open_cache(folder, int(OmegaConf.load(CONF / "evaluate.yaml").cache.gib * 2**30))
    if arguments.action == "clear":
        cache.clear()
    about = cache.info()
    print(
        f"{about['folder']}: {about['vectors']:,} vectors, {about['bytes'] / 2**30:.2f} GiB "
        f"(the oldest leave at {about['max_bytes'] / 2**30:g} GiB, cache.gib)"
    )
