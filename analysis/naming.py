"""Name and order rows as the reader of a paper wants them.

A row is named by its method (its label) and, where rows of a method differ, by its setting:
`echo`, `echo (echo_snli)`. Either name can be renamed and ordered: a method's name stands for all
of its rows, and a whole name goes before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.labels import KEY, name_row


@dataclass(frozen=True)
class Naming:
    """rename: a row's or a method's name -> the printed one. order: rows by either name, the first
    on top; the others follow as they are."""

    rename: Mapping[str, str] = field(default_factory=dict)
    order: Sequence[str] = ()

    def apply(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[Any, int]]:
        """Return a named frame with the new names, and each ordered row's place by its new key.

        Raises ValueError where two rows would be named alike.
        """
        if not self.rename and not self.order:
            return frame, {}
        keys = list(frame[KEY].drop_duplicates().itertuples(index=False, name=None))
        new = {key: self._rename_key(key) for key in keys}
        taken: dict[Any, Any] = {}
        for key, own in new.items():
            if own in taken:
                raise ValueError(
                    f"--rename: {name_row(taken[own])!r} and {name_row(key)!r} would both be named "
                    f"{name_row(own)!r}; rename each row by its whole name"
                )
            taken[own] = key
        places = {own: self._find_place(key, own) for key, own in new.items()}
        renamed = [new[key] for key in frame[KEY].itertuples(index=False, name=None)]
        frame = frame.assign(**dict(zip(KEY, zip(*renamed, strict=True), strict=True)))
        return frame, {key: place for key, place in places.items() if place is not None}

    def refuse_unknown(self, known: Iterable[str]) -> None:
        """Raise ValueError for a name that no row has. known: what `list_names` returns."""
        known = list(dict.fromkeys(known))
        wanted = {"--rename": list(self.rename), "--order": list(self.order)}
        for option, names in wanted.items():
            valid = [*known, *(self.rename.values() if option == "--order" else ())]
            if unknown := [name for name in names if name not in valid]:
                raise ValueError(
                    f"{option}: no row is named {', '.join(map(repr, unknown))}; "
                    f"valid: {', '.join(known)}"
                )

    def _rename_key(self, key: Any) -> Any:
        label, setting = key
        if (whole := self.rename.get(name_row(key))) is not None:
            return whole, ""
        return self.rename.get(label, label), setting

    def _find_place(self, key: Any, new: Any) -> int | None:
        """Return a row's place in the order, by its whole name or else by its method's."""
        for name in (name_row(new), name_row(key), new[0], key[0]):
            if name in self.order:
                return list(self.order).index(name)
        return None


def list_names(frame: pd.DataFrame) -> list[str]:
    """Return what rows of a named frame can be renamed by: their methods and their whole names."""
    keys = frame[KEY].drop_duplicates().itertuples(index=False, name=None)
    return sorted({name for key in keys for name in (key[0], name_row(key))})
