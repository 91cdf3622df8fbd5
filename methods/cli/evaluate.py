"""`dec2vec evaluate method=echo model=smollm2_135m tasks=sts`; -m sweeps, experiment=NAME replays.

A job that fails writes its error into its own folder's log, the sweep goes on, and the exit status
says that something failed.
"""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from methods.evaluation.config import CONF
from methods.evaluation.plugins import export_importable

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="evaluate")
def run(config: DictConfig) -> float | None:
    """One job of a sweep, or the only one; its mean score, which a sweeper may maximise."""
    from methods.evaluation.job import TasksFailed

    folder = Path(HydraConfig.get().runtime.output_dir)
    status: dict[str, Any] = {"status": "done"}
    try:
        return job(config).run()
    except KeyboardInterrupt:
        status = {"status": "interrupted"}
        log.warning("interrupted; finished tasks are kept, the same command goes on from here")
        raise
    except Exception as error:
        status = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        end(error, ValueError, TasksFailed)
        raise
    finally:
        (folder / "status.json").write_text(json.dumps(status, indent=2) + "\n")


def job(config: DictConfig) -> Any:
    """The job a composed config describes."""
    from methods.evaluation.config import plan
    from methods.evaluation.job import Job
    from methods.evaluation.tasks import TaskList

    hydra_config = HydraConfig.get()
    values: Any = OmegaConf.to_container(config, resolve=True)
    return Job(
        plan=plan(config, name=hydra_config.runtime.choices["method"]),
        tasks=TaskList(**{k: v for k, v in values["tasks"].items() if v is not None}),
        runs=Path(config.runs),
        cache=values["cache"],
        overrides=list(hydra_config.overrides.task),
        config=values,
    )


def end(error: Exception, *expected: type[Exception]) -> None:
    """Log what ended a job. What the user got wrong needs no traceback, what we did does: so a run
    of its own exits here on what is expected, and Hydra has none to print."""
    known = isinstance(error, expected)
    log.error("%s", error, exc_info=not known)
    if known and HydraConfig.get().mode == RunMode.RUN:
        sys.exit(1)


class AfterSweep(Callback):
    """Makes the tables and figures that `report` asks for, once a sweep has ended."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write them under the runs folder."""
        from analysis.__main__ import show
        from analysis.report import report

        logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every glyph
        if config.report:
            out = Path(config.runs) / "report"
            try:
                show(report([config.runs], out), out)
            except ValueError as error:  # the runs stand; what they lack is said
                log.error("no report: %s", error)


def main() -> None:
    """Entry point of the verb."""
    logging.captureWarnings(True)
    hydra_arguments()
    run()


def hydra_arguments() -> None:
    """Leave on the command line what Hydra takes, a --config-dir made importable."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd")
    options, rest = parser.parse_known_args(sys.argv[1:])
    if options.config_dir is not None:
        try:
            export_importable(options.config_dir)
        except ValueError as error:
            sys.exit(f"{sys.argv[0]}: {error}")
        rest = ["--config-dir", options.config_dir, *rest]  # Hydra wants its options first
    sys.argv = [sys.argv[0], *rest]
