"""Describe what a record's numbers were made with: versions, machine, commit and command."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from methods.folders import ROOT

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "mteb", "datasets", "numpy")


def describe_environment() -> dict[str, Any]:
    """Return package versions, machine, processor and commit."""
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        **describe_machine(),
        **find_commit(),
    }


def describe_machine() -> dict[str, str]:
    """Return the kind of machine, and its processor."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "processor": find_processor(),
    }


@cache
def find_processor() -> str:
    """Return the processor's name and its widest units, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    known = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    flags = set(known.get("flags", known.get("Features", "")).split())
    units = [f for f in ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "bf16") if f in flags]
    name = known.get("model name", platform.machine())
    return ", ".join([name, *units[:1]])


@cache
def find_commit() -> dict[str, Any]:
    """Return the commit of this code, and whether tracked files were changed since; None for both
    where this code is in no repository of its own."""

    def run_git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        run_git("ls-files", "--error-unmatch", "methods/provenance.py")  # not another's repository
        name = run_git("rev-parse", "--short=12", "HEAD")
        changed = run_git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": name, "dirty": bool(changed)}


def make_portable(value: Any) -> Any:
    """Return a config value with absolute paths written relative to where the command runs.

    A record is read on other machines: where its author keeps folders is no part of it. A path that
    shares nothing with the working folder stays as it was given.
    """
    if isinstance(value, Mapping):
        return {key: make_portable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [make_portable(part) for part in value]
    if isinstance(value, str) and os.path.isabs(value) and os.path.exists(value):
        here = os.getcwd()
        if os.path.commonpath([here, os.path.abspath(value)]) != os.path.sep:
            return os.path.relpath(value, here)
    return value


def format_command(verb: str, overrides: Iterable[str], config_dir: str | None = None) -> str:
    """Return the command that repeats a job, to be pasted in the same folder."""
    options = [] if config_dir is None else ["--config-dir", make_portable(config_dir)]
    given = []
    for override in overrides:
        key, equals, value = override.partition("=")
        given.append(f"{key}{equals}{make_portable(value)}")
    return f"dec2vec {verb} {shlex.join([*options, *given])}".rstrip()
