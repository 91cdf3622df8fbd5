"""Show how many embeddings are cached on disk (info), or remove them all (clear)."""

import argparse
import re
import sys
from pathlib import Path

from methods.folders import CONF, find_embeddings_folder


def main() -> None:
    """Run the verb."""
    parser = argparse.ArgumentParser(
        prog=sys.argv[0], description=__doc__, epilog="for instance: dec2vec cache info"
    )
    parser.add_argument("action", choices=["info", "clear"])
    usual = "$DEC2VEC_EMBEDDINGS, else in the user's cache"
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help=f"what cache.folder named [{usual}]"
    )
    arguments = parser.parse_args()
    from methods.encoding.store import open_cache

    folder = arguments.folder or find_embeddings_folder()
    if not (folder / "data.mdb").is_file():
        sys.exit(f"dec2vec cache: there is none in {folder}; valid: a folder given as cache.folder")
    try:
        cache = open_cache(folder, int(_read_default_gib() * 2**30))
        if arguments.action == "clear":
            cache.clear()
        about = cache.info()
    except OSError as error:
        sys.exit(f"dec2vec cache: {error}")
    print(
        f"{about['folder']}: {about['vectors']:,} vectors, {about['bytes'] / 2**30:.2f} GiB "
        f"(the oldest leave at {about['max_bytes'] / 2**30:g} GiB, cache.gib)"
    )


def _read_default_gib() -> float:
    text = (CONF / "base.yaml").read_text(encoding="utf-8")
    return float(re.search(r"^  gib: ([\d.]+)", text, re.MULTILINE)[1])  # pyright: ignore
