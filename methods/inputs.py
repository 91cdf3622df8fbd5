"""What is encoded: ragged token ids, pool masks and marks (plugins: see methods.base)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Inputs:
    """The token ids and pool masks of a batch: one list per row, without padding or tensors.

    `pool_mask` says which positions of a row may be pooled; every row has at least one.
    `cut` holds the rows whose text was shortened to fit. `marks` names positions of each row.
    """

    ids: list[list[int]]
    pool_mask: list[list[bool]]
    cut: frozenset[int] = frozenset()
    marks: Mapping[str, list[list[int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.pool_mask):
            raise ValueError(f"{len(self.ids)} rows of ids but {len(self.pool_mask)} pool masks")
        for row, (ids, mask) in enumerate(zip(self.ids, self.pool_mask, strict=True)):
            if not _is_list_of(int, ids) or not _is_list_of(bool, mask):
                raise ValueError(
                    f"row {row} has ids {ids[:3]} and pool mask {mask[:3]}; ids are a list of int, "
                    f"a pool mask is a list of bool (.tolist() makes one of an array)"
                )
            if len(ids) != len(mask) or not any(mask):
                raise ValueError(
                    f"row {row} has {len(ids)} ids and a pool mask of {len(mask)} positions with "
                    f"{sum(mask)} true; it needs one entry per id and at least one true"
                )

        for name, found in self.marks.items():
            wrong = [row for row, ids in enumerate(self.ids) if _is_outside(found, row, len(ids))]
            if len(found) != len(self.ids) or wrong:
                at = f"; in row {wrong[0]} they are not" if wrong else ""
                raise ValueError(
                    f"the mark {name!r} has {len(found)} lists of positions for {len(self.ids)} "
                    f"rows; it has one a row, of positions in the row{at}"
                )

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self, length: int, device: Any = "cpu") -> Tensor:
        """Return the pool mask of all rows, right-padded to `length`: [B, length], boolean."""
        mask = self._masks.get((length, device))  # many cells pool the same rows
        if mask is None:
            rows = [row + [False] * (length - len(row)) for row in self.pool_mask]
            mask = self._masks[length, device] = torch.tensor(rows, device=device)
        return mask

    @cached_property
    def _masks(self) -> dict[Any, Tensor]:
        return {}

    def rows(self, indices: Sequence[int]) -> Inputs:
        """Return the inputs of some rows, in the order of `indices`."""
        cut = frozenset(new for new, old in enumerate(indices) if old in self.cut)
        marks = {name: [found[i] for i in indices] for name, found in self.marks.items()}
        ids, masks = [self.ids[i] for i in indices], [self.pool_mask[i] for i in indices]
        return Inputs(ids, masks, cut, marks)


def _is_outside(found: Sequence[Sequence[int]], row: int, length: int) -> bool:
    return row < len(found) and not all(0 <= at < length for at in found[row])


def _is_list_of(kind: type, values: Any) -> bool:
    return isinstance(values, list) and set(map(type, values)) <= {kind}
