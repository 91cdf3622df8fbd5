"""Lock what threads share: one pass of a model at a time, one load in a process at a time.

A pass sets a model's attention, kernel and hooks, and resets all three when it ends. Two passes at
once would each reset the other's, so a pass holds its model's lock. A load sets torch's default
dtype and random state, and Hydra's global state, for the whole process.
"""

from __future__ import annotations

import os
import threading
from typing import Any


class Lock:
    """A reentrant lock. A copy, a pickle and a forked process have an unlocked one of their own."""

    def __init__(self) -> None:
        self._lock, self._process = threading.RLock(), os.getpid()

    def __enter__(self) -> None:
        if self._process != os.getpid():  # a thread that held it at the fork is not in this process
            self.__init__()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        return Lock, ()


LOADING = Lock()


def get_lock(owner: Any) -> Lock:
    """Return the lock that lives with a model or a tokenizer; all that share it get the same."""
    return vars(owner).setdefault("_dec2vec_lock", Lock())  # atomic: two threads get one lock
