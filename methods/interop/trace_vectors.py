"""Read vectors that another program made, as the last stage of an encoder that shows no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from methods.data.readers import open_table
from methods.interop.stages import EncoderStages, TextStages

SUFFIXES = (".npy", ".parquet", ".jsonl")


def trace_vectors(vectors_ND: Any, *, number: int | None = None, name: str = "") -> EncoderStages:
    """Return vectors as an encoder's last stage. number: of texts; None takes all vectors.

    Raises ValueError for anything but one finite vector for each text.
    """
    name = name or "vectors"
    given = np.asarray(vectors_ND)
    if given.ndim != 2 or given.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} has shape {list(given.shape)} of {given.dtype}; it takes numbers, "
            f"[texts, dimensions]"
        )
    if number is not None and len(given) < number:
        raise ValueError(
            f"{name} has {len(given)} vectors for {number} texts; give the texts that they were "
            f"made of, in their order (texts=FILE), or fewer (limit={len(given)})"
        )
    taken = given[:number].astype(np.float32)
    if (bad := np.flatnonzero(~np.isfinite(taken).all(axis=1))).size:
        raise ValueError(f"{name}: vector {bad[0]} is not finite")
    return EncoderStages(
        name=name,
        about=f"{len(given)} vectors of {given.shape[1]} dimensions, {given.dtype}",
        vectors_ND=taken,
        texts=[TextStages() for _ in taken],
        dtype="float16" if given.dtype == np.float16 else None,
    )


def read_vectors(file: Path) -> np.ndarray:
    """Read vectors from .npy, or from the column of .parquet or .jsonl that holds lists of numbers.

    Raises ValueError for another kind of file, and where no column or several hold such lists.
    """
    if file.suffix not in SUFFIXES:
        raise ValueError(f"{file} is no file of vectors; valid: {', '.join(SUFFIXES)}")
    if not file.is_file():
        raise ValueError(f"there is no {file}")
    if file.suffix == ".npy":
        try:
            return np.load(file, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{file} cannot be read: {error}") from error
    rows = list(open_table(file).rows())
    if not rows:
        raise ValueError(f"{file} has no row")
    columns = [column for column, value in rows[0].items() if _is_vector(value)]
    if len(columns) != 1:
        raise ValueError(
            f"{file} has {', '.join(columns) or 'no column'} with lists of numbers, among "
            f"{', '.join(rows[0])}; one column holds the vectors"
        )
    return _stack([row.get(columns[0]) for row in rows], file)


def _is_vector(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(x, int | float) for x in value)
    )


def _stack(vectors: Sequence[Any], file: Path) -> np.ndarray:
    for row, vector in enumerate(vectors):
        if not _is_vector(vector) or len(vector) != len(vectors[0]):
            got = f"{len(vector)} values" if isinstance(vector, list) else repr(vector)
            raise ValueError(
                f"{file}: row {row} has {got}, the first has {len(vectors[0])} numbers"
            )
    return np.asarray(vectors, dtype=np.float64)
