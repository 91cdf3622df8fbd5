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

from methods.cli.estimates import measure_start, write_estimate
from methods.cli.jobs import check_report, get_config_dir, record_status, run_verb
from methods.config.names import CONF

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="evaluate")
def run(config: DictConfig) -> float | None:
    """Run one job; return its mean score, which a sweeper may maximise."""
    with record_status():
        hydra_config = HydraConfig.get()
        job = build_job(
            config,
            name=hydra_config.runtime.choices["method"],
            overrides=list(hydra_config.overrides.task),
            config_dir=get_config_dir(hydra_config),
            swept=hydra_config.mode == RunMode.MULTIRUN,
        )
        if not config.estimate:
            return job.run()
        from methods.evaluation.cost_table import format_estimate, format_line
        from methods.evaluation.estimate import estimate_evaluation

        estimate = estimate_evaluation(job, starting=measure_start())
        shown = format_line if job.swept else format_estimate
        log.info("%s", shown(estimate, config.price_per_hour))
        write_estimate(estimate.title, tokens=estimate.computed, seconds=estimate.seconds)
        return None


def build_job(
    config: DictConfig, *, name: str, overrides: list[str], config_dir: str | None, swept: bool
) -> Any:
    """Return the job that a composed config describes. name: the method's, in conf/method."""
    check_report(config)
    from methods.config.resolve import resolve_evaluation
    from methods.config.settings import build_task_list, drop_estimate
    from methods.evaluation.job import Job

    resolved = resolve_evaluation(config, name=name, overrides=overrides, config_dir=config_dir)
    values: Any = OmegaConf.to_container(config, resolve=True)
    return Job(
        evaluation=resolved,
        tasks=build_task_list(values["tasks"], key="tasks", mirror=values["mirror"]),
        runs=Path(config.runs),
        cache=values["cache"],
        overrides=overrides,
        config=drop_estimate(values),
        config_dir=config_dir,
        swept=swept,
    )


class AfterSweep(Callback):
    """Make the tables and figures of `report=NAME` once a sweep has ended, and join the seeds of
    trainings on documents."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write them under the runs folder."""
        if config.get("docs") and not config.estimate:
            from methods.documents.tuning.seeds import write_seed_tables

            write_seed_tables(Path(config.runs))
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
