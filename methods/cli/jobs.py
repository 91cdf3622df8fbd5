"""Run a verb that computes: check its words, write status.json, end with a message.

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
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from methods.cli.arguments import check_arguments, split_arguments
from methods.cli.cards import add_processes, take_card
from methods.cli.estimates import discard_estimates, drop_no_estimate
from methods.cli.mistakes import explain
from methods.config.plugins import export_importable
from methods.config.renamed import rename_overrides
from methods.config.trained_as import find_method_name
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
        prepare_arguments(verb)
        with discard_estimates():
            run()
        return
    try:
        prepare_arguments(verb)
        os.environ[FULL] = "1"  # Hydra then raises what it would print with a traceback
        _run_jobs(run)
    except JobFailed as error:
        sys.exit(f"dec2vec {verb}: {error}")
    except MISTAKES as error:
        sys.exit(f"dec2vec {verb}: {explain(error, verb)}")
    finally:
        os.environ.pop(FULL, None)


def _run_jobs(run: Callable[[], Any]) -> None:
    """Run jobs, which handle their own errors; an OSError left here is about their folder."""
    try:
        with discard_estimates():
            run()
    except OSError as error:
        raise OSError(
            f"the folder for runs cannot be written ({error}); give another one: runs=DIR"
        ) from error


@contextmanager
def record_status() -> Iterator[None]:
    """Write status.json when the job ends, and log what ended it.

    What the user can fix is logged without a traceback. Raises JobFailed for what was logged.
    """
    config = HydraConfig.get()
    file = Path(config.runtime.output_dir) / "status.json"
    status: dict[str, Any] = {"status": "done"}
    try:
        take_card()
        yield
    except KeyboardInterrupt:
        status = {"status": "interrupted"}
        raise
    except Exception as error:
        known = isinstance(error, MISTAKES) or type(error).__name__ in FAILURES
        message = explain(error, config.job.name) if known else f"{type(error).__name__}: {error}"
        status = {"status": "failed", "error": f"{type(error).__name__}: {message}"}
        log.error("%s", message, exc_info=not known)
        if config.mode == RunMode.RUN:
            sys.exit(1)
        raise JobFailed(f"a job failed; {file} and the log beside it say how") from None
    finally:
        file.write_text(json.dumps(status, indent=2) + "\n")


def prepare_arguments(verb: str) -> None:
    """Leave on the command line what Hydra takes: checked, and a --config-dir made importable."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd")
    chosen, rest = parser.parse_known_args(sys.argv[1:])
    options, words = split_arguments(rest)
    words = rename_overrides(words, verb=verb)
    if chosen.config_dir is not None:
        export_importable(chosen.config_dir)
        options = ["--config-dir", chosen.config_dir, *options]
    if verb == "evaluate":
        words = leave_out_default_tasks(words)
    if verb in ("evaluate", "encode", "export"):
        words = add_trained_method(words, config_dir=chosen.config_dir)
    check_arguments(verb, options, words)
    words = add_processes(drop_no_estimate(words))
    sys.argv = [sys.argv[0], *options, *words]


def leave_out_default_tasks(words: list[str]) -> list[str]:
    """Return overrides by which tasks on the user's own data are evaluated alone, where no list of
    tasks is asked for beside them."""
    keys = {word.lstrip("+").partition("=")[0] for word in words}
    others = {"tasks", "tasks.names", "tasks.benchmark", "experiment"}
    return [*words, "tasks.names=[]"] if "tasks.own" in keys and not keys & others else words


def add_trained_method(words: list[str], *, config_dir: str | None) -> list[str]:
    """Return overrides with the method that the adapter was trained with, where none is chosen."""
    keys = {word.lstrip("+").partition("=")[0]: word.partition("=")[2] for word in words}
    if "adapter" not in keys or keys.keys() & {"method", "experiment", "template"}:
        return words
    try:
        value = OverridesParser.create().parse_override(f"adapter={keys['adapter']}").value()
    except HydraException:  # reported by check_arguments, with the fix
        return words
    several = list(value.list) if isinstance(value, ChoiceSweep) else [value]
    lists = [one if isinstance(one, list) else [one] for one in several]
    for path in (str(path) for one in lists for path in one if path):
        if not Path(path).expanduser().exists():
            raise ValueError(f"adapter={path}: there is no such folder")
    names = {find_method_name([str(path) for path in one], config_dir=config_dir) for one in lists}
    if len(names) > 1:
        raise ValueError(
            f"the adapters were trained with several methods ({', '.join(map(str, names))}); "
            f"evaluate those of one method at a time, or give method=NAME"
        )
    return [f"method={name}", *words] if (name := names.pop()) else words


def get_config_dir(hydra_config: Any) -> str | None:
    """Return the --config-dir of the command line, as it was given. hydra_config: Hydra's part."""
    for source in hydra_config.runtime.config_sources:
        if source.provider == "command-line":
            return source.path
    return None


def check_report(config: Any) -> None:
    """Refuse a report that does not exist, before anything is computed for it."""
    if (name := config.get("report")) is not None:
        from analysis.reports import REPORTS

        if name not in REPORTS:
            raise ValueError(
                f"report={name} is unknown; valid: {', '.join(REPORTS)}{nearest(name, REPORTS)}"
            )
