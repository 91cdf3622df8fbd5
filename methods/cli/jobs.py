"""What every verb that computes shares: its entry, its status.json, and how it ends.

A job leaves status.json in its folder: done, failed with its error, or interrupted. What the user
got wrong ends in a line or two without a traceback, in a run of its own and in a sweep alike;
HYDRA_FULL_ERROR=1 shows everything. The exit status is 0 only where all went well.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from methods.cli.arguments import check_arguments, ordered
from methods.cli.mistakes import explain
from methods.fields import nearest

log = logging.getLogger(__name__)
FULL = "HYDRA_FULL_ERROR"
MISTAKES = (ValueError, OSError, HydraException, OmegaConfBaseException)
FAILURES = ("TasksFailed",)  # by name: importing its module would import torch


class JobFailed(RuntimeError):
    """A job failed, and its log and its status.json say how."""


def run_verb(verb: str, run: Callable[[], Any]) -> None:
    """Run a Hydra verb with the arguments of the command line; exit with a message if it fails."""
    if os.environ.get(FULL) == "1":
        hydra_arguments(verb)
        run()
        return
    try:
        hydra_arguments(verb)
        os.environ[FULL] = "1"  # Hydra then raises what it would print with a traceback
        run()
    except JobFailed as error:
        sys.exit(f"dec2vec {verb}: {error}")
    except MISTAKES as error:
        sys.exit(f"dec2vec {verb}: {explain(error, verb)}")
    finally:
        os.environ.pop(FULL, None)


@contextmanager
def job_status() -> Iterator[None]:
    """Write status.json when the job ends, and log what ended it.

    What the user can mend is logged without a traceback. Raises JobFailed for what was logged.
    """
    config = HydraConfig.get()
    file = Path(config.runtime.output_dir) / "status.json"
    status: dict[str, Any] = {"status": "done"}
    try:
        yield
    except KeyboardInterrupt:
        status = {"status": "interrupted"}
        raise
    except Exception as error:
        known = isinstance(error, MISTAKES) or type(error).__name__ in FAILURES
        said = explain(error, config.job.name) if known else f"{type(error).__name__}: {error}"
        status = {"status": "failed", "error": f"{type(error).__name__}: {said}"}
        log.error("%s", said, exc_info=not known)
        if config.mode == RunMode.RUN:
            sys.exit(1)
        raise JobFailed(f"a job failed; {file} and the log beside it say how") from None
    finally:
        file.write_text(json.dumps(status, indent=2) + "\n")


def hydra_arguments(verb: str) -> None:
    """Leave on the command line what Hydra takes: checked, and a --config-dir made importable."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd")
    chosen, rest = parser.parse_known_args(sys.argv[1:])
    options, words = ordered(rest)
    if chosen.config_dir is not None:
        make_importable(chosen.config_dir)
        options = ["--config-dir", chosen.config_dir, *options]
    check_arguments(verb, options, words)
    sys.argv = [sys.argv[0], *options, *words]


def check_report(config: Any) -> None:
    """Refuse a report that does not exist, before anything is computed for it."""
    if (name := config.get("report")) is not None:
        from analysis.report import REPORTS

        if name not in REPORTS:
            raise ValueError(
                f"report={name} is unknown; valid: {', '.join(REPORTS)}{nearest(name, REPORTS)}"
            )


def make_importable(folder: str | None) -> None:
    """Let `_target_` name modules beside a --config-dir, here and in launchers' processes."""
    if folder is not None:
        path = Path(folder).expanduser().resolve()
        if not path.is_dir():
            raise ValueError(f"--config-dir {folder} is no folder; give one that has method/*.yaml")
        sys.path.insert(0, str(path))
        paths = [str(path), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
