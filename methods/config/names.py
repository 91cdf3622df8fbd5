"""What stands in conf/: the folder, and the names that its groups have. Imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path

from methods.folders import CONF

OPTIONAL = ("template", "experiment")  # groups that set values of others and leave no section


def quoted(value: str) -> str:
    """Return a value in quotes, as the grammar of Hydra's overrides reads any text."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"


def choices(group: str, *, config_dir: str | Path | None = None) -> list[str]:
    """Return the names that a config group has, those of a --config-dir among them."""
    folders = [CONF, *([Path(config_dir)] if config_dir else [])]
    return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})


def groups(verb: str) -> dict[str, str]:
    """Return the config groups of a verb, each with its default, as conf/VERB.yaml lists them."""
    found = {}
    lines = (CONF / f"{verb}.yaml").read_text(encoding="utf-8").split("defaults:\n", 1)[1]
    for line in lines.splitlines():
        if not line.startswith(" "):
            break
        if named := re.match(r"\s+- (\w+): (\S+)", line):
            found[named[1]] = named[2]
    return found


def root_keys(verb: str) -> list[str]:
    """Return the keys that stand at the root of a verb's config, its groups among them."""
    text = (CONF / f"{verb}.yaml").read_text(encoding="utf-8")
    own = re.findall(r"^(\w+):", text, re.MULTILINE)
    return [*groups(verb), *(key for key in own if key not in ("defaults", "hydra"))]
