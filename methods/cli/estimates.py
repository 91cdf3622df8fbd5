"""Estimate jobs instead of running them: `estimate=true`. Nothing of it stays on disk.

Hydra gives each job a folder, with its config and its log. Where jobs are estimated these folders
lie in a temporary one. Each job leaves what it found there, in whatever process it ran, and the sum
of a sweep is logged from it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode

from methods.config.names import ESTIMATE, quote_value

log = logging.getLogger(__name__)
FILE = "estimate.json"


def drop_no_estimate(words: Sequence[str]) -> list[str]:
    """Return overrides without those that ask for no estimate: the job is the same without them.

    Raises ValueError for several values.
    """
    kept = []
    for word in words:
        override = _parse(word)
        if override is not None and override.is_sweep_override():
            key = override.key_or_group
            raise ValueError(f"{word}: {key} takes one value, for all jobs; write {key}=VALUE")
        if override is None or override.value() not in (False, None):
            kept.append(word)
    return kept


def _parse(word: str) -> Override | None:
    """Return an override of a key of estimates; None for another word."""
    key, equals, _ = word.lstrip("+").partition("=")
    if key not in ESTIMATE or not equals:
        return None
    return OverridesParser.create().parse_override(word)


@contextmanager
def discard_estimates() -> Iterator[None]:
    """Where the command line asks for estimates, let jobs write into a folder that is removed.

    Raises ValueError for a search, whose jobs are not known beforehand.
    """
    words = sys.argv[1:]
    given = [override for word in words if (override := _parse(word)) is not None]
    if not any(o.key_or_group == "estimate" and o.value() is True for o in given):
        yield
        return
    if any(word.startswith("hydra/sweeper=") for word in words):
        raise ValueError(
            "estimate=true cannot estimate a search, which chooses its jobs as it goes; leave "
            "hydra/sweeper out and estimate one job"
        )
    remote = any("slurm" in word for word in words if word.startswith("hydra/launcher="))
    # Slurm's machines share the folder where the command runs, not the temporary one.
    shared = Path.cwd() if remote else None
    with TemporaryDirectory(prefix=".dec2vec-estimate-", dir=shared) as folder:
        for key in ("hydra.run.dir", "hydra.sweep.dir"):
            sys.argv.append(f"{key}={quote_value(folder)}")
        try:
            yield
        finally:
            _log_sum(Path(folder), show_jobs=remote)


def measure_start() -> float:
    """Return the seconds that this process worked until now, if the job is its first."""
    config = HydraConfig.get()
    first = config.mode == RunMode.RUN or not config.job.num
    return time.process_time() if first else 0.0


def write_estimate(title: str, *, tokens: float, seconds: float | None) -> None:
    """Leave a job's estimate in its folder, if that will be removed."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    if any(part.startswith(".dec2vec-estimate-") for part in folder.parts):
        values = {"title": title, "tokens": tokens, "seconds": seconds}
        (folder / FILE).write_text(json.dumps(values))


def _log_sum(folder: Path, *, show_jobs: bool) -> None:
    """Log what the jobs of a sweep will cost together."""
    from methods.evaluation.amounts import format_duration, format_money, format_number

    jobs = [file.parent for file in folder.glob("*/status.json")]
    found: list[dict[str, Any]] = [
        json.loads((job / FILE).read_text()) for job in jobs if (job / FILE).is_file()
    ]
    if not jobs:
        return
    if show_jobs:  # their own output went elsewhere
        for job in found:
            log.info("%s: time %s", job["title"], format_duration(job["seconds"]))
    known = [job["seconds"] for job in found if job["seconds"] is not None]
    parts = [
        f"{format_number(sum(job['tokens'] for job in found))} tokens to compute",
        f"time {format_duration(sum(known) if known or not found else None)}",
    ]
    words = [override for word in sys.argv[1:] if (override := _parse(word)) is not None]
    price = next((o.value() for o in words if o.key_or_group == "price_per_hour"), None)
    if isinstance(price, int | float) and known:
        parts.append(format_money(sum(known), price))
    lost = len(jobs) - len(known)
    parts += [f"and {lost} of the jobs, whose time is unknown"] if lost else []
    log.info("%d jobs together: %s", len(jobs), ", ".join(parts))
