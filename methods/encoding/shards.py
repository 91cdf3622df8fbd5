"""Write vectors with their ids as numbered shards, each once, by any number of processes.

    OUT/manifest.json          what is encoded and how, and which shards are done
    OUT/shard-00000.parquet    columns id, vector; or shard-00000.npy with shard-00000-ids.npy
    OUT/ranges.npy             what int8 codes stand for: smallest and largest value by dimension
    OUT/dropped.jsonl          rows that were left out, and why

A shard is written beside its place, flushed to disk and renamed, so a file under its name is whole.
Who writes it holds a lock that ends with the process. Nothing in a file depends on who wrote it or
when.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from filelock import FileLock, Timeout

from methods.identity import digest_files
from methods.records import read_json, write_atomically

Format = Literal["parquet", "npy"]
NPY_IDS = "-ids.npy"


@dataclass(frozen=True)
class ShardFolder:
    """The folder of an output."""

    folder: Path
    format: Format

    @property
    def manifest(self) -> Path:
        """Return the file that says what the folder holds."""
        return self.folder / "manifest.json"

    def find_shard(self, number: int) -> Path:
        """Return the file that a shard has once it is done."""
        return self.folder / f"shard-{number:05}.{self.format}"

    def is_done(self, number: int) -> bool:
        """Return whether a shard is written."""
        return self.find_shard(number).is_file()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the folder's own files; others wait."""
        with FileLock(self._make_lock("folder")):
            yield

    @contextmanager
    def claim(self, number: int) -> Iterator[bool]:
        """Claim a shard for this block: true if it is not done and nobody else is writing it."""
        lock = FileLock(self._make_lock(f"shard-{number:05}"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            if self.is_done(number):
                yield False
                return
            for left in self.folder.glob(f".shard-{number:05}*"):  # of a process that died
                left.unlink()
            yield True
        finally:
            lock.release()

    def read_manifest(self) -> dict[str, Any]:
        """Return the manifest; empty where there is none."""
        return read_json(self.manifest) if self.manifest.is_file() else {}

    def write_manifest(self, content: Mapping[str, Any]) -> None:
        """Write the manifest whole."""
        write_atomically(self.manifest, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def describe_shard(self, number: int) -> dict[str, Any]:
        """Return what the manifest states of a shard that is done: its files and their digests."""
        file = self.find_shard(number)
        files = [file] if self.format == "parquet" else [file, _find_npy_ids(file)]
        return {"files": {one.name: digest_files(one) for one in files}}

    def describe_vectors(self, number: int) -> dict[str, Any]:
        """Return the type and the dimensions of a shard's vectors."""
        if self.format == "npy":
            found = np.load(self.find_shard(number), mmap_mode="r")
            return {"type": found.dtype.name, "size": found.shape[1]}
        from pyarrow.parquet import read_schema

        vector = read_schema(self.find_shard(number)).field("vector").type
        numpy_type = np.dtype(vector.value_type.to_pandas_dtype())
        return {"type": numpy_type.name, "size": vector.list_size}

    def open_writer(self, number: int, *, rows: int, id_type: str) -> ShardWriter:
        """Return what writes a claimed shard. rows: how many it will have. id_type: int64, string.

        Used as a context; the shard is done when it ends without an error.
        """
        kind = _ParquetWriter if self.format == "parquet" else _NpyWriter
        return kind(self.find_shard(number), rows, id_type)

    def _make_lock(self, name: str) -> Path:
        """Return a lock's file. It stays: another process may be about to open it."""
        folder = self.folder / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.lock"


class ShardWriter(Protocol):
    """Writes the rows of one shard."""

    def write(self, ids: Sequence[Any], vectors_ND: np.ndarray) -> None:
        """Append rows."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: Any, *_: object) -> None: ...


class _ParquetWriter:
    """A row group for each `write`, so that no more than its rows are held."""

    def __init__(self, file: Path, rows: int, id_type: str) -> None:
        self.file, self.id_type = file, id_type
        self.aside = file.with_name(f".{file.name}-{os.getpid()}")
        self.writer: Any = None

    def write(self, ids: Sequence[Any], vectors_ND: np.ndarray) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        values = pa.array(np.ascontiguousarray(vectors_ND).reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(values, vectors_ND.shape[1])
        names = pa.array(ids, type=pa.string() if self.id_type == "string" else pa.int64())
        table = pa.table({"id": names, "vector": vectors})
        if self.writer is None:
            self.writer = pq.ParquetWriter(
                self.aside, table.schema, compression="zstd", use_dictionary=False
            )
        self.writer.write_table(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if self.writer is not None:
            self.writer.close()
        if kind is None:
            _finish(self.aside, self.file)
        else:
            self.aside.unlink(missing_ok=True)


class _NpyWriter:
    """Two arrays: vectors [N, D] and, written before them, ids [N]."""

    def __init__(self, file: Path, rows: int, id_type: str) -> None:
        self.file, self.rows = file, rows
        self.aside = file.with_name(f".{file.name}-{os.getpid()}")
        self.ids: list[Any] = []
        self.id_type, self.stream = id_type, None

    def write(self, ids: Sequence[Any], vectors_ND: np.ndarray) -> None:
        if self.stream is None:
            self.stream = self.aside.open("wb")
            shape = (self.rows, vectors_ND.shape[1])
            about = {"descr": vectors_ND.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(self.stream, about)
        self.stream.write(np.ascontiguousarray(vectors_ND).tobytes())
        self.ids += ids

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if self.stream is not None:
            self.stream.close()
        if kind is not None:
            self.aside.unlink(missing_ok=True)
            return
        ids = self.aside.with_name(f"{self.aside.name}-ids")
        with ids.open("wb") as stream:
            np.save(stream, np.array(self.ids, dtype=np.int64 if self.id_type == "int64" else None))
        _finish(ids, _find_npy_ids(self.file))
        _finish(self.aside, self.file)


def _find_npy_ids(file: Path) -> Path:
    return file.with_name(file.stem + NPY_IDS)


def _finish(aside: Path, file: Path) -> None:
    """Flush a written file to disk and give it its name."""
    with aside.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(aside, file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def save_once(file: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array of a file, which is made and written first where it is not there.

    The caller holds the folder's lock.
    """
    if not file.is_file():
        aside = file.with_name(f".{file.name}-{os.getpid()}")
        with aside.open("wb") as stream:
            np.save(stream, make())
        _finish(aside, file)
    return np.load(file)
