"""Vectors on disk: kept whole, bounded, shared by processes, and damage is found out."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from methods.encoding.store import EmbeddingCache, MemoryStore, open_cache
from methods.identity import make_row_key


def key(number):
    return make_row_key([number], [True])


def vectors(numbers, size=600):
    return {key(n): np.full(size, n, dtype=np.float32) for n in numbers}


@pytest.fixture
def cache(tmp_path):
    cache = EmbeddingCache(tmp_path / "store", max_bytes=1 << 20)
    yield cache
    cache.close()


def reopened(cache):
    cache.close()
    cache._open()
    return cache


@pytest.mark.parametrize("store", ["disk", "memory"])
def test_what_is_put_is_got_and_nothing_else(cache, store):
    store = cache if store == "disk" else MemoryStore(1 << 20)
    store.put(vectors(range(5)))
    found = store.get([key(3), key(9), key(0)])
    assert np.array_equal(found[0], np.full(600, 3)) and found[1] is None
    assert found[2].dtype == np.float32


def test_a_key_knows_ids_mask_and_where_one_ends():
    keys = {
        make_row_key([1, 2], [True, True]),
        make_row_key([1, 2], [True, False]),
        make_row_key([2, 1], [True, True]),
        make_row_key([1, 2, 0], [True, True, False]),
    }
    assert len(keys) == 4
    assert make_row_key([1, 2], [True, True]) in keys


def test_a_damaged_vector_counts_as_absent_with_a_warning_and_is_mended(cache, caplog):
    cache.put(vectors(range(20)))
    cache.close()
    data = cache.folder / "data.mdb"
    raw = data.read_bytes()
    at = raw.index(np.full(600, 7, dtype=np.float32).tobytes())
    data.write_bytes(raw[: at + 9] + b"\xff" + raw[at + 10 :])
    cache._open()
    found = cache.get([key(6), key(7), key(8)])
    assert found[1] is None and found[0] is not None and found[2] is not None
    assert "a vector in" in caplog.text and "damaged and is recomputed" in caplog.text
    cache.put(vectors([7]))
    assert np.array_equal(cache.get([key(7)])[0], np.full(600, 7))


@pytest.mark.parametrize("damage", ["cut", "noise", "garbage_inside"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begins(cache, damage, caplog):
    cache.put(vectors(range(100)))
    cache.close()
    data = cache.folder / "data.mdb"
    raw = data.read_bytes()
    if damage == "cut":
        data.write_bytes(raw[: len(raw) // 2])
    elif damage == "noise":
        data.write_bytes(b"\x01" * len(raw))
    else:
        data.write_bytes(raw[:8192] + bytes(len(raw) - 8192))
    cache._open()
    assert cache.get([key(3)]) == [None]
    assert "it is renamed, and a new file" in caplog.text and data.with_suffix(".damaged").exists()
    cache.put(vectors([3]))
    assert cache.get([key(3)])[0] is not None


@pytest.mark.parametrize("size", [8, 600])
def test_the_oldest_leave_when_there_are_too_many(tmp_path, size):
    cache = EmbeddingCache(tmp_path, max_bytes=200_000)
    for number in range(3000):
        cache.put(vectors([number], size))
    info = cache.info()
    assert 100_000 < info["bytes"] <= 200_000 and info["vectors"] < 3000
    assert cache.get([key(0)]) == [None] and cache.get([key(2999)])[0] is not None
    assert (tmp_path / "data.mdb").stat().st_size < 600_000
    cache.close()


def test_a_batch_that_no_bound_could_hold_is_not_kept_and_said(tmp_path, caplog):
    cache = EmbeddingCache(tmp_path, max_bytes=10_000)
    cache.put(vectors(range(10)))
    assert cache.info()["vectors"] == 0 and "raise cache.gib" in caplog.text
    cache.close()


def test_the_oldest_leave_memory_when_there_are_too_many():
    store = MemoryStore(10 * 600 * 4)
    for number in range(30):
        store.put(vectors([number]))
    assert store.get([key(0)]) == [None] and store.get([key(29)])[0] is not None
    assert len(store._vectors) == 10


def test_clear_forgets_and_info_counts(cache):
    cache.put(vectors(range(7)))
    assert cache.info()["vectors"] == 7
    cache.clear()
    assert cache.info() | {"folder": ""} == {
        "folder": "",
        "vectors": 0,
        "bytes": 0,
        "max_bytes": 1 << 20,
    }
    cache.put(vectors(range(3)))
    assert reopened(cache).info()["vectors"] == 3


def test_a_store_is_opened_once_a_process_and_another_bound_holds_for_all_who_have_it(tmp_path):
    first = open_cache(tmp_path, 1 << 20)
    first.put(vectors([1]))
    assert open_cache(tmp_path / "." / "x" / "..", 1 << 20) is first
    other = open_cache(tmp_path, 1 << 21)
    for store in (first, other):
        assert store.get([key(1)])[0] is not None and store.info()["max_bytes"] == 1 << 21
    first.close()
    again = open_cache(tmp_path, 1 << 20)
    assert again.get([key(1)])[0] is not None
    again.close()


def test_copies_and_pickles_of_a_store_are_the_store(tmp_path):
    store = open_cache(tmp_path, 1 << 20)
    assert copy.deepcopy(store) is store and pickle.loads(pickle.dumps(store)) is store
    memory = MemoryStore(1 << 20)
    memory.put(vectors([1]))
    assert pickle.loads(pickle.dumps(memory)).get([key(1)])[0] is not None
    store.close()


def test_a_forked_process_reads_and_writes_the_same_store(tmp_path):
    store = open_cache(tmp_path, 1 << 20)
    store.put(vectors([0]))
    for number in (1, 2):
        child = os.fork()
        if child == 0:
            try:
                assert all(vector is not None for vector in store.get([key(0), key(number - 1)]))
                store.put(vectors([number]))
                os._exit(0)
            except BaseException:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert store.get([key(number)])[0] is not None
    assert store.info()["vectors"] == 3
    store.close()


WRITER = """
import sys, time, numpy as np
from pathlib import Path
from methods.encoding.store import EmbeddingCache
from methods.identity import make_row_key
cache = EmbeddingCache(Path(sys.argv[1]), max_bytes=1 << 26)
for batch in range(int(sys.argv[2]), int(sys.argv[3])):
    numbers = range(10 * batch, 10 * batch + 10)
    cache.put({make_row_key([n], [True]): np.full(600, n, dtype=np.float32) for n in numbers})
    print(batch, flush=True)
"""


def writer(folder, first, last):
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(folder), str(first), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_process_loses_no_batch_it_had_finished(tmp_path):
    process = writer(tmp_path, 0, 100_000)
    said = [process.stdout.readline() for _ in range(30)]
    time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    said += process.stdout.readlines()
    process.wait()
    done = max(int(line) for line in said if line.endswith("\n"))
    cache = EmbeddingCache(tmp_path, max_bytes=1 << 26)
    found = cache.get([key(n) for n in range(10 * done + 10)])
    assert all(np.array_equal(v, np.full(600, n)) for n, v in enumerate(found))
    cache.put(vectors([10**7]))
    cache.close()


def test_two_processes_write_one_store_at_once(tmp_path):
    both = [writer(tmp_path, 0, 60), writer(tmp_path, 30, 90)]
    assert [process.wait() for process in both] == [0, 0]
    cache = EmbeddingCache(tmp_path, max_bytes=1 << 26)
    found = cache.get([key(n) for n in range(900)])
    assert all(np.array_equal(v, np.full(600, n)) for n, v in enumerate(found))
    assert cache.info()["vectors"] == 900
    cache.close()


FULL = """
import resource, signal, sys, numpy as np
from pathlib import Path
from methods.encoding.store import EmbeddingCache
from methods.identity import make_row_key
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cache = EmbeddingCache(Path(sys.argv[1]), max_bytes=1 << 26)
one = lambda n: {make_row_key([n], [True]): np.full(600, n, dtype=np.float32)}
cache.put(one(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # writes fail as on a full disk
try:
    for n in range(2, 500):
        cache.put(one(n))
except OSError as error:
    print(n, error)
"""


def test_a_full_disk_is_an_error_that_names_the_folder_and_loses_nothing(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    failed, message = said.split(" ", 1)
    assert f"the embedding cache in {tmp_path} cannot be used" in message
    assert "cache.folder=null" in message
    cache = EmbeddingCache(tmp_path, max_bytes=1 << 26)
    found = cache.get([key(n) for n in range(1, int(failed))])
    assert all(np.array_equal(v, np.full(600, n)) for n, v in enumerate(found, 1))
    cache.close()


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cache in .*file/inside cannot be used .*cache.folder=null"):
        EmbeddingCache(tmp_path / "file" / "inside", max_bytes=1 << 20)
