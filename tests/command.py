"""`dec2vec ...` in processes of its own that need not import torch and mteb again.

Imports take most of a short command's time. A fork server makes them once for a test session, and
each command is a fork of it: with arguments, folder, environment, state and exit status of its own,
as if it had been started from a shell.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[1]
SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(
    ["methods.cli.evaluate", "methods.evaluation.job", "methods.training.config", "analysis.report"]
)


class Command:
    """A running command, with what tests use of subprocess.Popen; errors go where output goes."""

    def __init__(
        self, *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        # A launcher's workers import the package too, from wherever the tests run it.
        imports = {"PYTHONPATH": str(ROOT)}
        environment = {**os.environ, **imports, **(environment or {})}
        self.output = tempfile.NamedTemporaryFile("r", prefix="dec2vec-output-", errors="replace")
        self._process = SERVER.Process(
            target=_run, args=(arguments, str(cwd), environment, self.output.name)
        )
        with mock.patch.dict(os.environ, imports):  # the first command starts the server
            self._process.start()

    def poll(self) -> int | None:
        """The exit status, minus the signal's number where one ended it; None while it runs."""
        return self._process.exitcode

    returncode = property(poll)

    def wait(self) -> int | None:
        self._process.join()
        return self.returncode

    def communicate(self) -> tuple[str, None]:
        """Wait, and return the output that has not been read yet."""
        self.wait()
        return self.output.read(), None

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid or 0, number)


def _run(arguments: tuple[str, ...], cwd: str, environment: dict[str, str], output: str) -> None:
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["dec2vec", *arguments]
    sys.path[:] = [str(ROOT), *(path for path in sys.path if path not in ("", str(ROOT)))]
    from methods.cli import main

    try:
        main()
    finally:  # a child of multiprocessing would wait for a launcher's idle workers, 300 s
        if "joblib.externals.loky" in sys.modules:
            sys.modules["joblib.externals.loky"].get_reusable_executor().shutdown()
