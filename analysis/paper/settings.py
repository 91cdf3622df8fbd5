"""What the author of a paper chooses: of a YAML (`--paper-config FILE`), and of the command line.

title: Embeddings from a small language model
rename: {echo: Echo, prompteol: PromptEOL}
order: [prompteol, echo]                       # the other rows follow
digits: 1
transpose: true                                # tasks as rows; or a list: [sts, tasks]
only: [sts/sts, sts/cost, trained/gains]       # tables and figures, by section and name
captions: {sts: Seven STS tasks.}              # by name, or by section/name
watts_per_core: 12                             # of the estimate of energy
facts: {models: {ORG/NAME: {licence: MIT, parameters: 1000}}, tasks: {MyTask: {licence: mine}}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.naming import Naming

# Tables whose columns are tasks: what `transpose: true` turns.
SCORE_TABLES = ("types", "tasks", "sts", "trained")
FACTS = ("models", "tasks", "data")
SHAPES: dict[str, tuple[type, ...]] = {
    **{"title": (str,), "rename": (dict,), "order": (list,), "digits": (int,)},
    **{"transpose": (bool, list), "only": (list,), "captions": (dict,), "facts": (dict,)},
    "watts_per_core": (int, float),
}


@dataclass(frozen=True)
class PaperSettings:
    """The keys of the YAML; see above.

    transpose: names of the tables to print with tasks as rows; turns_all: they were not named one
    by one, so that tables of many rows stay. only: empty: all. facts: kind ->
    name -> what is known of it, before what facts/ holds.
    """

    title: str = "Results"
    rename: Mapping[str, str] = field(default_factory=dict)
    order: Sequence[str] = ()
    digits: int | None = None
    transpose: Sequence[str] = ()
    turns_all: bool = False
    only: Sequence[str] = ()
    captions: Mapping[str, str] = field(default_factory=dict)
    watts_per_core: float = 12.0
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def naming(self) -> Naming:
        """How rows are named and ordered."""
        return Naming(self.rename, self.order)


def read_settings(file: str | Path | None, given: Mapping[str, Any]) -> PaperSettings:
    """Return the settings of a YAML with those of the command line, which win; names to rename are
    joined. Raises ValueError for a file that cannot be read, an unknown key and a wrong value."""
    values = {} if file is None else _read_yaml(Path(file))
    known = list(SHAPES)
    where = f"{file}: " if file is not None else ""
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"{where}unknown: {', '.join(unknown)}; valid: {', '.join(known)}")
    for key, value in values.items():
        wrong = isinstance(value, bool) and bool not in SHAPES[key]
        if wrong or not isinstance(value, SHAPES[key]):
            shapes = " or ".join(shape.__name__ for shape in SHAPES[key])
            raise ValueError(f"{where}{key} is {value!r}; it is a {shapes}")
    if unknown := sorted(set(values.get("facts", {})) - set(FACTS)):
        raise ValueError(
            f"{where}facts has unknown {', '.join(unknown)}; valid: {', '.join(FACTS)}"
        )
    joined = {**values, **given}
    joined["rename"] = {**values.get("rename", {}), **given.get("rename", {})}
    joined["rename"] = {str(old): str(new) for old, new in joined["rename"].items()}
    if isinstance(turned := joined.get("transpose", ()), bool):
        joined["turns_all"], joined["transpose"] = turned, SCORE_TABLES if turned else ()
    if (digits := joined.get("digits")) is not None and not 0 <= digits <= 6:
        raise ValueError(f"{where}digits is {digits}; it is a number from 0 to 6")
    return PaperSettings(**joined)


def parse_renames(words: Sequence[str]) -> dict[str, str]:
    """Return `OLD=NEW` words as a mapping. Raises ValueError for one without a name on a side."""
    found = {}
    for word in words:
        old, equals, new = word.partition("=")
        if not (equals and old and new):
            raise ValueError(f"--rename is {word!r}; it is OLD=NEW, as in --rename echo=Echo")
        found[old] = new
    return found


def _read_yaml(file: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"--paper-config {file} cannot be read: {error}") from error
    if not isinstance(values or {}, dict):
        raise ValueError(f"--paper-config {file} holds {type(values).__name__}, not keys")
    return values or {}
