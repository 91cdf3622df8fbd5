"""Encode rows with plain transformers: padded batches, an attention mask, nothing of ours.

B rows of a batch, L positions, D hidden size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor


class Row(NamedTuple):
    """Token ids of one text, and how many of the last ones are the text's own (0: unknown)."""

    ids: list[int]
    own: int = 0


@dataclass(frozen=True)
class Group:
    """One way in which a method is used. fields: of the method. takes: whether the official code
    encodes a text, and as the method does; note: why not, where it does not."""

    fields: dict[str, Any] = field(default_factory=dict)
    side: Literal["query", "document"] | None = None
    instruction: str | None = None
    new_tokens: tuple[str, ...] = ()
    takes: Callable[[str], bool] = lambda text: True
    note: str = ""

    @property
    def about(self) -> str:
        """What tells the group from others of its method."""
        given = [f"{key}={_written(value)}" for key, value in self.fields.items()]
        return ", ".join([*given, *filter(None, [self.side])])


def _written(value: Any) -> str:
    return "..." if isinstance(value, tuple) else str(value)


Pool = Callable[[Tensor, Tensor, Sequence[Row]], Tensor]


def encode(
    model: Any,
    rows: Sequence[Row],
    pool: Pool,
    *,
    padding: Literal["left", "right"],
    pad: int,
    bidirectional: bool = False,
    batch_size: int = 8,
) -> Tensor:
    """Return the vectors [N, D] of rows, in their order."""
    order = sorted(range(len(rows)), key=lambda place: len(rows[place].ids))
    found: list[Any] = [None] * len(rows)
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        batch = [rows[place] for place in places]
        ids_BL, mask_BL = padded([row.ids for row in batch], padding=padding, pad=pad)
        seen = mask_BL
        if bidirectional:  # every position sees every token and no padding
            lowest = torch.finfo(torch.float32).min
            seen = (1.0 - mask_BL[:, None, None, :].float()) * lowest
            seen = seen.expand(-1, 1, ids_BL.shape[1], -1)
        with torch.inference_mode():
            states_BLD = model(input_ids=ids_BL, attention_mask=seen).last_hidden_state
            vectors_BD = pool(states_BLD, mask_BL, batch)
        for place, vector_D in zip(places, vectors_BD, strict=True):
            found[place] = vector_D
    return torch.stack(found)


def padded(rows: Sequence[list[int]], *, padding: str, pad: int) -> tuple[Tensor, Tensor]:
    """Return ids and attention mask [B, L]."""
    length = max(map(len, rows))
    ids, mask = [], []
    for row in rows:
        more = length - len(row)
        ones, zeros = [1] * len(row), [0] * more
        ids.append([pad] * more + row if padding == "left" else row + [pad] * more)
        mask.append(zeros + ones if padding == "left" else ones + zeros)
    return torch.tensor(ids), torch.tensor(mask)
