"""List the names in conf/: groups, their choices and root keys. Imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path

from methods.folders import CONF

OPTIONAL = ("template", "experiment")  # groups that set values of others and leave no section
ESTIMATE = ("estimate", "price_per_hour")  # what a job costs is no setting of it: not recorded


def quote_value(value: str) -> str:
    """Return a value in quotes, as the grammar of Hydra's overrides reads any text."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"


def list_choices(group: str, *, config_dir: str | Path | None = None) -> list[str]:
    """Return the names that a config group has, those of a --config-dir among them."""
    folders = [CONF, *([Path(config_dir)] if config_dir else [])]
    return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})


def read_config_texts(verb: str) -> list[str]:
    """Return the text of conf/VERB.yaml, and of conf/base.yaml, which every verb begins with."""
    return [(CONF / f"{name}.yaml").read_text(encoding="utf-8") for name in (verb, "base")]


def list_groups(verb: str) -> dict[str, str]:
    """Return the config groups of a verb, each with its default, as its defaults lists say."""
    found = {}
    for text in read_config_texts(verb):
        for line in text.split("defaults:\n", 1)[1].splitlines():
            if not line.startswith(" "):
                break
            if named := re.match(r"\s+- (\w+): (\S+)", line):
                found[named[1]] = named[2]
    return found


def list_root_keys(verb: str) -> list[str]:
    """Return the keys that stand at the root of a verb's config, its groups among them."""
    own = re.findall(r"^(\w+):", "\n".join(read_config_texts(verb)), re.MULTILINE)
    keys = [*list_groups(verb), *(key for key in own if key not in ("defaults", "hydra"))]
    return list(dict.fromkeys(keys))
