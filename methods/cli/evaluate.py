"""`dec2vec evaluate method=echo model=smollm2_135m tasks=sts`; -m sweeps, experiment=NAME replays.

A job that fails writes its error into its own folder's log and status.json, the other jobs run, and
the exit status says that something failed.
"""

import logging
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from methods.cli.jobs import check_report, get_config_dir, record_status, run_verb
from methods.config.names import CONF

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="evaluate")
def run(config: DictConfig) -> float | None:
    """Run one job; return its mean score, which a sweeper may maximise."""
    with record_status():
        return build_job(config).run()


def build_job(config: DictConfig) -> Any:
    """Return the job that a composed config describes."""
    check_report(config)
    from methods.config.resolve import resolve_evaluation
    from methods.config.settings import build_task_list
    from methods.evaluation.job import Job

    hydra_config = HydraConfig.get()
    overrides = list(hydra_config.overrides.task)
    name, folder = hydra_config.runtime.choices["method"], get_config_dir()
    resolved = resolve_evaluation(config, name=name, overrides=overrides, config_dir=folder)
    values: Any = OmegaConf.to_container(config, resolve=True)
    return Job(
        evaluation=resolved,
        tasks=build_task_list(values["tasks"], key="tasks", mirror=values["mirror"]),
        runs=Path(config.runs),
        cache=values["cache"],
        overrides=overrides,
        config=values,
        config_dir=folder,
        swept=hydra_config.mode == RunMode.MULTIRUN,
    )


class AfterSweep(Callback):
    """Make the tables and figures of `report=NAME` once a sweep has ended."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write them under the runs folder."""
        if not config.report:
            return
        from analysis.__main__ import show
        from analysis.report import report

        logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs every glyph
        out = Path(config.runs) / "report"
        try:
            show(report([config.runs], out), out)
        except ValueError as error:  # the runs are complete without it
            log.error("no report: %s", error)


def main() -> None:
    """Run the verb."""
    logging.captureWarnings(True)
    run_verb("evaluate", run)
