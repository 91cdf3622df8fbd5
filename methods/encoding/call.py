"""What is known of one call for vectors while it goes on, and what it cost: see embedder.py."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from methods.encoding.batch_pooling import HostCopy
from methods.encoding.chunks import Chunk


@dataclass
class Usage:
    """What encoding a task cost. tokens: of all texts; tokens_computed: of those not in the store;
    seconds: from the first forward pass to the last vector; cut: number of truncated texts.
    vector_bytes: of one vector, as it would be stored."""

    texts: int = 0
    tokens: int = 0
    tokens_computed: int = 0
    cut: int = 0
    seconds: float = 0.0
    vector_bytes: int | None = None


@dataclass
class Call:
    """What is known of one call. found: vectors [K, D] by row key, None while a row is computed;
    sizes: numbers of dimensions; share: of the call's characters; tokens: of the rows to compute.
    each: how many rows a text has.
    """

    cell_index: int
    title: str = ""
    each: int = 1
    found: dict[bytes, Any] = field(default_factory=dict)
    sizes: set[int] = field(default_factory=set)
    share: float = 0.0
    tokens: int = 0
    started: float | None = None
    bar: Any = None

    def add(self, tokens: int) -> None:
        """Count tokens that are about to be computed."""
        if self.bar is None:
            self.started = time.perf_counter()
            self.bar = tqdm(unit="tok", unit_scale=True, desc=self.title, delay=3, leave=False)
        self.tokens += tokens
        self.bar.total = round(self.tokens / self.share)

    def done(self, tokens: int) -> None:
        """Count tokens whose vectors are there."""
        self.bar.update(tokens)

    def check_sizes(self, rows_KD: Sequence[np.ndarray], name: str) -> None:
        """Raise ValueError where a method's rows have several numbers of dimensions."""
        self.sizes |= {one.shape[1] for one in rows_KD}
        if len(self.sizes) > 1:
            raise ValueError(
                f"{name}.pool gives vectors of {sorted(self.sizes)} dimensions to texts of one "
                f"call; all vectors of a method have one size"
            )

    def close(self) -> None:
        """Remove the progress bar."""
        if self.bar is not None:
            self.bar.close()


@dataclass(frozen=True, eq=False)
class Batch:
    """A launched batch: the keys of its rows, of which texts they are, and their lengths."""

    keys: list[bytes]
    places: list[int]
    lengths: list[int]
    vectors: HostCopy


@dataclass(frozen=True, eq=False)
class End:
    """The end of a chunk, behind all batches that its vectors come from."""

    chunk: Chunk
    keys: list[bytes]
