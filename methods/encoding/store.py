"""Cache embeddings on disk, so that no text is encoded twice: an LMDB store, keyed by content.

A key is a digest of everything a vector depends on; a value is the vector and a checksum. A batch
is one transaction: a process that is killed loses at most its current batch, and any number of
processes of one machine may use a store at once. It is bounded: the oldest vectors are removed
first. LMDB maps its file into memory and must not lie on a network file system.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import lmdb
import numpy as np
from filelock import FileLock

from methods.backbone.locks import Lock

log = logging.getLogger(__name__)
PAGE = 4096
T = TypeVar("T")
SHRINK_TO = 0.9  # of the bound, when vectors must be removed


class Store(Protocol):
    """Where vectors are cached by key."""

    def get(self, keys: Sequence[bytes]) -> list[np.ndarray | None]: ...

    def put(self, vectors: Mapping[bytes, np.ndarray]) -> None: ...


class MemoryStore:
    """Vectors cached in memory, the oldest removed beyond a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self._bytes = max_bytes, 0
        self._vectors: dict[bytes, np.ndarray] = {}
        self._lock = Lock()

    def get(self, keys: Sequence[bytes]) -> list[np.ndarray | None]:
        """Return one vector a key, or None."""
        return [self._vectors.get(key) for key in keys]

    def put(self, vectors: Mapping[bytes, np.ndarray]) -> None:
        """Store float32 vectors."""
        with self._lock:
            for key, vector in vectors.items():
                if key not in self._vectors:
                    self._vectors[key] = vector
                    self._bytes += vector.nbytes
            while self._bytes > self.max_bytes:
                self._bytes -= self._vectors.pop(next(iter(self._vectors))).nbytes


class EmbeddingCache:
    """Vectors cached on disk. Get one with `open_cache`: LMDB needs a file opened once a process.

    Threads may share it. A forked process opens the file anew, and a copy is the same store.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._damaged: set[bytes] = set()
        self._lock, self._process = Lock(), os.getpid()
        with self._errors_name_folder():
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "open.lock"):
                self._open()

    def __reduce__(self) -> tuple[Any, ...]:
        return open_cache, (self.folder, self.max_bytes)

    def __deepcopy__(self, _memo: Any) -> EmbeddingCache:
        return self

    def get(self, keys: Sequence[bytes]) -> list[np.ndarray | None]:
        """Return one vector a key, or None; a damaged one counts as absent, with a warning."""

        def read() -> list[np.ndarray | None]:
            with self._env.begin(db=self._vectors, buffers=True) as txn:
                return [self._verify(key, txn.get(key)) for key in keys]

        return self._retry_if_damaged(read)

    def put(self, vectors: Mapping[bytes, np.ndarray]) -> None:
        """Store float32 vectors, in one transaction. An OSError names the folder."""
        values = {key: _with_checksum(key, vector) for key, vector in vectors.items()}
        if sum(_size(value) for value in values.values()) > SHRINK_TO * self.max_bytes:
            log.warning("a batch's vectors exceed what %s may hold; raise cache.gib", self.folder)
            return

        def write() -> None:
            with self._env.begin(write=True) as txn:
                total, place = struct.unpack("<QQ", txn.get(b"total", default=bytes(16)))
                for key, value in values.items():
                    again = key in self._damaged
                    if txn.put(key, value, overwrite=again, db=self._vectors) and not again:
                        txn.put(struct.pack(">Q", place), key, db=self._order)
                        total, place = total + _size(value), place + 1
                if total > self.max_bytes:
                    total = self._shrink(txn, total)
                txn.put(b"total", struct.pack("<QQ", total, place))
            self._damaged -= values.keys()

        self._retry_if_damaged(write)

    def info(self) -> dict[str, Any]:
        """Return folder, number of vectors, bytes used and allowed."""

        def read() -> dict[str, Any]:
            with self._env.begin() as txn:
                total, _ = struct.unpack("<QQ", txn.get(b"total", default=bytes(16)))
                vectors = txn.stat(self._vectors)["entries"]
            return {
                "folder": str(self.folder),
                "vectors": vectors,
                "bytes": total,
                "max_bytes": self.max_bytes,
            }

        return self._retry_if_damaged(read)

    def clear(self) -> None:
        """Remove every vector; later ones reuse the space."""

        def write() -> None:
            with self._env.begin(write=True) as txn:
                txn.drop(self._vectors, delete=False)
                txn.drop(self._order, delete=False)
                txn.delete(b"total")

        self._retry_if_damaged(write)

    def limit(self, max_bytes: int) -> None:
        """Change what the store may hold; the next `put` shrinks it to that."""
        with self._lock:
            if max_bytes != self.max_bytes:
                self._env.close()
                self.max_bytes = max_bytes
                self._open()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._env.close()
            if _opened.get(self.folder) is self:
                del _opened[self.folder]

    def _shrink(self, txn: Any, total: int) -> int:
        cursor = txn.cursor(db=self._order)
        while total > SHRINK_TO * self.max_bytes and cursor.first():
            key = cursor.value()
            total -= _size(txn.get(key, default=b"", db=self._vectors))
            txn.delete(key, db=self._vectors)
            cursor.delete()
        return total

    def _verify(self, key: bytes, value: Any) -> np.ndarray | None:
        if value is None:
            return None
        stored = bytes(value)
        if len(stored) < 4 or zlib.crc32(key + stored[4:]) != struct.unpack("<I", stored[:4])[0]:
            log.warning("a vector in %s is damaged and is recomputed", self.folder)
            self._damaged.add(key)
            return None
        return np.frombuffer(stored, dtype=np.float32, offset=4)

    def _open(self) -> None:
        # The file grows as needed; the map is only an address range. A transaction may for a while
        # hold old and new pages, so it is wider than the bound.
        size = 2 * self.max_bytes + (256 << 20)
        try:
            self._env = lmdb.open(str(self.folder), map_size=size, max_dbs=2, metasync=False)
            last = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
            if (self.folder / "data.mdb").stat().st_size < last:
                self._env.close()
                raise lmdb.CorruptedError("the file is cut short")
            self._vectors = self._env.open_db(b"vectors")
            self._order = self._env.open_db(b"order")
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as error:
            self._set_aside(error)
            self._open()

    def _set_aside(self, error: Exception) -> None:
        data = self.folder / "data.mdb"
        log.warning("%s is damaged (%s); it is renamed, and a new file is started", data, error)
        os.replace(data, data.with_suffix(".damaged"))
        (self.folder / "lock.mdb").unlink(missing_ok=True)

    def _retry_if_damaged(self, act: Callable[[], T]) -> T:
        """Run an operation, and run it again on a new file where the file proves damaged."""
        with self._lock, self._errors_name_folder():
            if self._process != os.getpid():  # LMDB's file handles must not be used after a fork
                self._env.close()
                self._process = os.getpid()
                self._open()
            try:
                return act()
            except (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.PanicError) as error:
                self._env.close()
                with FileLock(self.folder / "open.lock"):
                    self._set_aside(error)
                    self._open()
                return act()

    @contextmanager
    def _errors_name_folder(self) -> Iterator[None]:
        """Name the folder in errors of LMDB and the file system."""
        try:
            yield
        except (lmdb.Error, OSError) as error:
            raise OSError(
                f"the embedding cache in {self.folder} cannot be used ({error}); free space there, "
                f"give another folder (cache.folder=DIR, in Python cache=DIR), or do without "
                f"(cache.folder=null, in Python cache=None)"
            ) from error


_opened: dict[Path, EmbeddingCache] = {}
_opening = Lock()


def open_cache(folder: Path, max_bytes: int) -> EmbeddingCache:
    """Return the store in a folder, opened once a process; the last bound asked for applies."""
    folder = folder.expanduser().resolve()
    with _opening:
        opened = _opened.get(folder)
        if opened is None:
            opened = _opened[folder] = EmbeddingCache(folder, max_bytes=max_bytes)
        opened.limit(max_bytes)
    return opened


def _with_checksum(key: bytes, vector: np.ndarray) -> bytes:
    data = np.ascontiguousarray(vector, dtype=np.float32).tobytes()
    return struct.pack("<I", zlib.crc32(key + data)) + data


def count_bytes(dimensions: int) -> int:
    """Return the bytes that a vector takes in a store."""
    return _count_bytes(4 + 4 * dimensions)


def _size(value: bytes) -> int:
    return _count_bytes(len(value))


def _count_bytes(length: int) -> int:
    """Return the bytes a value takes: small values share pages, others have pages of their own."""
    pages = -(-(length + 16) // PAGE) * PAGE if length > PAGE // 2 else length
    return pages + 128
