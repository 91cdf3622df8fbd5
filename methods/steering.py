"""Places within a pass where a method changes or reads states (plugins: see methods.base).

B rows of a batch, T tokens of all its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

SiteKind = Literal["input", "heads"]
Site = tuple[SiteKind, int]
Read = int | tuple[Literal["heads", "values"], int]  # a layer's states, or within decoder layer k


@dataclass(frozen=True, eq=False)
class Places:
    """Where tokens of a batch stand among its states, text by text and row by row.

    first, last: of every row, [B]. marks: by name, the marked tokens of all rows.
    """

    first: Tensor
    last: Tensor
    marks: Mapping[str, Tensor]

    def at(self, mark: str) -> Tensor:
        """Return the tokens that a method marked. Raises ValueError for a mark it did not set."""
        if mark not in self.marks:
            known = ", ".join(self.marks) or "none"
            raise ValueError(f"no row has a mark {mark!r}; prepare_inputs sets: {known}")
        return self.marks[mark]

    def mean(self, states_TD: Tensor) -> Tensor:
        """Return the mean of the states of every row: [B, D]."""
        sums_TD = states_TD.double().cumsum(0)  # in double: other rows are added and taken off
        own_BD = sums_TD[self.last] - sums_TD[self.first] + states_TD[self.first].double()
        return (own_BD / (self.last - self.first + 1)[:, None]).to(states_TD.dtype)
