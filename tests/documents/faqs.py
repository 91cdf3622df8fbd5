"""Fetch two FAQs with human questions, as folders of documents.

    python -m tests.documents.faqs --out DIR

Perl's (Debian's perl-doc: perlfaq1-9.pod; GPL-1+ or Artistic) and Python's (the versioned package
that python3-doc depends on; PSF licence), from Debian's packages by `apt-get download`, without
root. Nothing of them is committed. Where there is no apt, the pods of an installed perl are taken;
what cannot be had is named, with the reason. Then:

    dec2vec train experiment=own_documents docs=DIR/perl documents.questions=headings
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PATTERNS = {"perl": "**/perlfaq[1-9].pod", "python": "**/_sources/faq/*.rst.txt"}
PYTHON_DOC = "python3.11-doc"  # where apt does not say which one python3-doc means


class Unavailable(RuntimeError):
    """A package cannot be had here, and why."""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.documents.faqs")
    parser.add_argument("--out", type=Path, required=True, help="perl/ and python/ are made in it")
    out = parser.parse_args().out
    lacking = []
    for name in PATTERNS:
        try:
            files = fetch_faq(name, out / name)
            print(f"{out / name}: {len(files)} files")
        except Unavailable as error:
            lacking.append(f"{name}: {error}")
    if lacking:
        sys.exit("\n".join(lacking))


def fetch_faq(name: str, folder: Path) -> list[Path]:
    """Fetch one FAQ into a folder, unless it is there; return its files. Raises Unavailable."""
    if found := sorted(folder.glob("*")):
        return found
    with tempfile.TemporaryDirectory() as place:
        try:
            package = "perl-doc" if name == "perl" else find_python_package()
            download(package, Path(place))
            files = find_files(Path(place), name)
        except Unavailable:
            if name != "perl" or not (files := list_installed_pods()):
                raise
        folder.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copy(file, folder)) for file in files]


def find_python_package() -> str:
    """Return the versioned package that python3-doc depends on."""
    depends = run("apt-cache", "depends", "python3-doc")
    found = re.search(r"Depends: (python3\.\d+-doc)", depends)
    return found[1] if found else PYTHON_DOC


def download(package: str, folder: Path) -> None:
    """Download a Debian package into a folder and unpack it there. Raises Unavailable."""
    run("apt-get", "download", package, cwd=folder)
    for file in folder.glob("*.deb"):
        run("dpkg-deb", "-x", str(file), str(folder))


def find_files(folder: Path, name: str) -> list[Path]:
    """Return the files of a FAQ in an unpacked package. Raises Unavailable for none."""
    found = sorted(folder.glob(PATTERNS[name]))
    if not found:
        raise Unavailable(f"the package holds no {PATTERNS[name]}")
    return found


def list_installed_pods() -> list[Path]:
    """Return the FAQ of an installed perl; none where there is no perl, or one without its pods."""
    try:
        folders = run("perl", "-e", 'print join "\\n", @INC').splitlines()
    except Unavailable:
        return []
    found = {
        file.name: file for place in folders for file in Path(place).glob("**/perlfaq[1-9].pod")
    }
    return [found[name] for name in sorted(found)]


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a program; return its output. Raises Unavailable where it is missing or fails."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise Unavailable(f"there is no {command[0]} here; the FAQs come from Debian") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Unavailable(f"{' '.join(command)} failed: {said}") from error
    return done.stdout


if __name__ == "__main__":
    main()
