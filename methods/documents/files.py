"""Find the files of a folder of documents: which are read, and what is left out and why."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

SUFFIXES = {
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".rst": "rst",
    ".pod": "pod",
    ".py": "python",
    ".pdf": "pdf",
}
MAX_BYTES = 16 << 20  # of one file


@dataclass(frozen=True)
class Skipped:
    """A file that has no passages, and why. file: relative to the folder, with `/`."""

    file: str
    reason: str


@dataclass
class Found:
    """What a folder holds. files: to be read, in order, by their names relative to it.

    hidden: how many entries begin with a dot, folders counted as one. unknown: how many files have
    another suffix, by suffix. left_out: how many do not match what was asked for.
    """

    files: dict[str, Path] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    hidden: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    left_out: int = 0


def find_format(name: str) -> str | None:
    """Return the format that a file's name stands for, None for none that is read."""
    lower = name.lower()
    if lower.endswith(".rst.txt"):  # as Sphinx publishes its sources
        return "rst"
    return SUFFIXES.get(os.path.splitext(lower)[1])


def find_documents(
    place: str | os.PathLike[str], *, include: str | None = None, max_bytes: int = MAX_BYTES
) -> Found:
    """Find the files of a folder and of those in it, or the one file that is named.

    include: a pattern such as `*.md` that a file's name, or its path in the folder, must match.
    Raises ValueError for a place that is not there, and for a named file of an unknown suffix.
    """
    root, found = Path(place).expanduser(), Found()
    if root.is_file():
        if find_format(root.name) is None:
            raise ValueError(f"{root} has no suffix that is read; valid: {', '.join(SUFFIXES)}")
        _add(found, root.name, root, max_bytes)
        return found
    if not root.is_dir():
        raise ValueError(f"{root} is neither a folder nor a file; give the documents' folder")
    for folder, folders, names in os.walk(root, onerror=lambda error: _note(found, root, error)):
        found.hidden += sum(name.startswith(".") for name in [*folders, *names])
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if include is not None and not (fnmatch(name, include) or fnmatch(relative, include)):
                found.left_out += 1
            elif find_format(name) is None:
                found.unknown[path.suffix.lower() or "no suffix"] += 1
            else:
                _add(found, relative, path, max_bytes)
    return found


def _add(found: Found, name: str, path: Path, max_bytes: int) -> None:
    """Add a file to those that are read, or to the skipped."""
    reason = None
    if path.is_symlink() and not path.exists():
        reason = "a link that leads nowhere"
    elif not path.is_file():  # opening a pipe would wait forever
        reason = "no regular file"
    elif (size := path.stat().st_size) == 0:
        reason = "empty"
    elif size > max_bytes:
        reason = f"{size / (1 << 20):,.0f} MiB, above the limit of {max_bytes >> 20} MiB; split it"
    if reason is None:
        found.files[name] = path
    else:
        found.skipped.append(Skipped(name, reason))


def _note(found: Found, root: Path, error: OSError) -> None:
    name = Path(error.filename).relative_to(root).as_posix()
    found.skipped.append(Skipped(name, f"a folder that cannot be listed: {error.strerror}"))
