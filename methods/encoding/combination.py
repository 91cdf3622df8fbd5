"""Make one vector a text of its pooled rows and layers, after they were computed or cached.

N texts, R rows of a text, K layers of a vector, D hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from methods.base import Method
from methods.encoding.vectorize import combine_checked

TOGETHER = 4096  # texts whose rows are combined at once


def combine_rows(cell: Method, rows_KD: Sequence[np.ndarray], places: Sequence[int]) -> np.ndarray:
    """Return vectors [N, D] of the pooled rows of N texts, [K, D] each, as `combine` makes them.

    places: which texts they are. Raises ValueError for a vector that is not finite.
    """
    if type(cell).combine is Method.combine:  # one row, one layer
        return np.concatenate(rows_KD)
    step = TOGETHER * cell.rows_per_text
    parts = [rows_KD[first : first + step] for first in range(0, len(rows_KD), step)]
    combined = [combine_checked(cell, torch.from_numpy(np.stack(part))) for part in parts]
    vectors_ND = torch.cat(combined).float().numpy()
    for row in np.flatnonzero(~np.isfinite(vectors_ND).all(axis=1)).tolist():
        raise ValueError(
            f"{type(cell).__name__}.combine gives text {places[row]} a vector that is not finite, "
            f"of pooled rows that are; look at what it divides by"
        )
    return vectors_ND
