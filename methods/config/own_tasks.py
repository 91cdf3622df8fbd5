"""Describe tasks on a user's own data: what `tasks.own` holds, checked before a file is read.

own: [pairs.csv]                                          the kind is read off the columns
own: [{path: pairs.csv, kind: sts, name: MyPairs, columns: {sentence1: a}, scale: [0, 5]}]
own: [{_target_: my_module.MyTask}]                       a class of mteb's AbsTask
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from methods.fields import build
from methods.identity import digest_files

Kind = Literal["sts", "pair_classification", "classification", "clustering", "retrieval"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# What a row of a table has, by kind; retrieval is a BEIR folder or LlamaIndex' JSON.
COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "sts": ("sentence1", "sentence2", "score"),
    "pair_classification": ("sentence1", "sentence2", "label"),
    "classification": ("text", "label"),
    "clustering": ("text", "label"),
}
SPLIT = "split"  # a column that any table may have
ROLES = tuple(dict.fromkeys([*(role for needed in COLUMNS.values() for role in needed), SPLIT]))
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class OwnTask:
    """A task made of a file or a folder of the user's.

    path: csv, tsv, jsonl, json or parquet; a folder of train and test files of one of these; a BEIR
        folder (corpus.jsonl, queries.jsonl, qrels/*.tsv); LlamaIndex' JSON. `~` is expanded.
    kind: needed where the columns fit several. name: the file's, without its ending, by default.
    columns: our name -> theirs. scale: lowest and highest score of sts; by default those found.
    instruction: for methods that use one; of retrieval, the queries'.
    split: what the rows of a file without splits are called; `test` by default.
    """

    path: str
    kind: Kind | None = None
    name: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    scale: Sequence[float] | None = None
    instruction: str | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        if not self.path.strip():
            raise ValueError("path is empty; it is a file or a folder")
        for key in ("name", "split"):
            value = getattr(self, key)
            if value is not None and not WORD.fullmatch(value):
                raise ValueError(f"{key} is {value!r}; it has letters, digits, _ and - alone")
        if self.instruction is not None and not self.instruction.strip():
            raise ValueError("instruction is empty; leave it out, or give a sentence")
        self._check_columns()
        self._check_scale()

    @property
    def place(self) -> Path:
        """The path, `~` expanded."""
        return Path(self.path).expanduser()

    def digest(self) -> str | None:
        """Return a digest of the files' contents; None where there are none."""
        files = [self.place] if self.place.is_file() else sorted(self.place.rglob("*"))
        files = [file for file in files if file.is_file()]
        return digest_files(*files)[:16] if files else None

    def list_given(self) -> dict[str, Any]:
        """Return the fields that are not left at their default, as a YAML holds them."""
        given = {name: getattr(self, name) for name in type(self).__dataclass_fields__}
        given |= {"columns": dict(self.columns), "scale": self.scale and list(self.scale)}
        return {name: value for name, value in given.items() if value}

    def _check_columns(self) -> None:
        valid = ROLES if self.kind is None else (*COLUMNS.get(self.kind, ()), SPLIT)
        if self.columns and self.kind == "retrieval":
            raise ValueError(
                "columns are of tables; a retrieval task has the names of BEIR's files"
            )
        if unknown := [role for role in self.columns if role not in valid]:
            of = f" of {self.kind}" if self.kind else ""
            raise ValueError(
                f"columns names {', '.join(unknown)}; valid{of}: {', '.join(valid)} (ours), each "
                f"with the name it has in the file"
            )
        theirs = list(self.columns.values())
        if twice := [name for name in theirs if theirs.count(name) > 1]:
            raise ValueError(f"columns takes {twice[0]!r} for two of ours; each has its own")

    def _check_scale(self) -> None:
        if self.scale is None:
            return
        if self.kind not in (None, "sts"):
            raise ValueError(f"scale is of kind sts; {self.kind} has none")
        if len(self.scale) != 2 or not self.scale[0] < self.scale[1]:
            raise ValueError(
                f"scale is [{', '.join(f'{one:g}' for one in self.scale)}]; it is the lowest and "
                f"the highest score, for instance [0, 5]"
            )


@dataclass(frozen=True, kw_only=True)
class OwnClass:
    """A task that is a class of mteb's AbsTask. target: `module.Class`. options: its arguments."""

    target: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def digest(self) -> None:
        """Return None: what a class reads is its own."""
        return None

    def list_given(self) -> dict[str, Any]:
        """Return the mapping, as a YAML holds it."""
        return {"_target_": self.target, **self.options}


def build_own_task(value: Any, *, key: str) -> OwnTask | OwnClass:
    """Return one entry of `tasks.own`, its names and types checked. Raises ValueError."""
    if isinstance(value, OwnTask | OwnClass):
        return value
    if isinstance(value, str):
        value = {"path": value}
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{key} is {value!r}; it takes a path, or a mapping "
            f"{{path: PATH, kind: {' | '.join(KINDS)}, name: NAME, columns: {{...}}}}"
        )
    given = {name: one for name, one in value.items() if one is not None}
    if "_target_" in given:
        target = given.pop("_target_")
        if not isinstance(target, str) or "." not in target:
            raise ValueError(f"{key}._target_ is {target!r}; it names a class: module.Class")
        return OwnClass(target=target, options=given)
    try:
        return build(OwnTask, given, key=key)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(key) else f"{key}: {message}") from None


def build_own_tasks(values: Any, *, key: str) -> list[OwnTask | OwnClass]:
    """Return the entries of `tasks.own`. Raises ValueError for one value that is no list."""
    if isinstance(values, str):
        raise ValueError(
            f"{key} {values!r} is one value where a list is meant; write {key}=[{values}]"
        )
    if isinstance(values, Mapping):
        raise ValueError(f"{key} is one task where a list is meant; write {key}=[{{path: ...}}]")
    if not isinstance(values, list | tuple):
        raise ValueError(f"{key} is {values!r}; it takes a list of paths and mappings")
    return [build_own_task(one, key=f"{key}[{place}]") for place, one in enumerate(values)]
