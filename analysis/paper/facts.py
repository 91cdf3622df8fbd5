"""What no record holds: licences, numbers of parameters, and the papers of methods.

The files are in facts/: models.yaml, tasks.yaml and methods.bib, whose keys are the methods' names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("facts")
UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Facts:
    """Facts of files, under those that the author gives (settings.facts)."""

    given: Mapping[str, Mapping[str, Any]]

    def find(self, kind: str, name: str, what: str) -> str:
        """Return a fact of a model, a task or a data source as text, or that it is not recorded."""
        for source in (self.given.get(kind) or {}, read_facts(kind)):
            value = (source.get(name) or {}).get(what)
            if value is not None:
                return f"{value:,}" if isinstance(value, int) else str(value)
        return UNKNOWN


@cache
def read_facts(kind: str) -> dict[str, Any]:
    """Return the facts of a kind by name; none of a kind that has no file."""
    import yaml

    file = FOLDER / f"{kind}.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}


@cache
def read_entries() -> dict[str, str]:
    """Return the entries of methods.bib by key."""
    text = (FOLDER / "methods.bib").read_text(encoding="utf-8")
    parts = re.split(r"^(?=@)", text, flags=re.MULTILINE)[1:]
    return {re.findall(r"@\w+\{([^,]+),", part)[0]: part.strip() for part in parts}


def cite(key: str) -> str:
    """Return a citation in LaTeX; nothing where the bibliography has no such paper."""
    return f"~\\citep{{{key}}}" if key in read_entries() else ""


def write_bibliography(keys: Iterable[str]) -> str:
    """Return the entries of some papers, those that there are, in the file's order."""
    wanted = set(keys)
    return "\n\n".join(text for key, text in read_entries().items() if key in wanted) + "\n"
