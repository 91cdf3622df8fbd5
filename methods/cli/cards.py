"""One NVIDIA card for each process of a sweep on this machine: `-m hydra/launcher=gpus`.

The launcher starts as many worker processes as there are cards. Each takes a free card before torch
sees any, and holds it until it ends, so two sweeps of one user share the machine too. Nothing here
imports torch.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)
WANTED = "DEC2VEC_CARD_PER_PROCESS"  # set by conf/hydra/launcher/gpus.yaml
TAKEN = "DEC2VEC_CARD_TAKEN_BY"  # the process that has one; its children have it too
VISIBLE = "CUDA_VISIBLE_DEVICES"
LAUNCHER = "hydra/launcher=gpus"
ON_CPU = "use hydra/launcher=processes for several processes on the CPU"


def list_cards() -> list[str]:
    """Return the cards that may be used here, as CUDA_VISIBLE_DEVICES names them."""
    if (visible := os.environ.get(VISIBLE)) is not None:
        return [card.strip() for card in visible.split(",") if card.strip()]
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    cards: list[str] = []
    for line in found.stdout.splitlines():
        if identity := re.search(r"UUID: (\S+?)\)", line):
            if line.startswith((" ", "\t")) and cards and cards[-1].startswith("GPU-"):
                cards.pop()  # a card that is split (MIG) is used by its parts
            cards.append(identity[1])
    return cards


def add_processes(words: Sequence[str]) -> list[str]:
    """Return overrides with a worker process for each card, where the launcher is `gpus`.

    Raises ValueError where no card is found.
    """
    given = any(word.lstrip("+").startswith("hydra.launcher.n_jobs=") for word in words)
    if LAUNCHER not in words or given:
        return list(words)
    cards = list_cards()
    if not cards:
        raise ValueError(
            f"{LAUNCHER} finds no NVIDIA card ({VISIBLE}={os.environ.get(VISIBLE)}; nvidia-smi -L "
            f"lists none); {ON_CPU}"
        )
    return [*words, f"hydra.launcher.n_jobs={len(cards)}"]


def take_card(*, wait_seconds: float = 10) -> None:
    """Let this process see one card that no other process has, if its launcher wants that.

    Waits for one where all are taken by other sweeps. Raises ValueError where there is none.
    """
    if os.environ.get(WANTED) != "true" or os.environ.get(TAKEN) == str(os.getpid()):
        return
    if not (cards := list_cards()):
        raise ValueError(f"{LAUNCHER} gives each job a card, and none is found; {ON_CPU}")
    while (card := next(filter(_lock, cards), None)) is None:
        log.warning("all %d cards are taken by other jobs of yours; waiting", len(cards))
        time.sleep(wait_seconds)
    os.environ |= {VISIBLE: card, TAKEN: str(os.getpid())}
    log.info("this process uses card %s", card)


def _lock(card: str) -> bool:
    """Return whether this process could lock a card. The lock ends with the process."""
    name = re.sub(r"[^\w-]", "_", f"dec2vec-{os.getuid()}-{card}")
    file = Path(tempfile.gettempdir()) / f"{name}.lock"
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True
