"""`dec2vec train recipe=sgpt_nli_demo`: trains a method; the folder it makes is given as adapter=.

In several processes: `torchrun --nproc-per-node N -m methods.cli train ...`, or accelerate launch.
"""

import logging
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from methods.cli.evaluate import end, hydra_arguments
from methods.evaluation.config import CONF

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def run(config: DictConfig) -> None:
    """One training of a sweep, or the only one."""
    from methods.training.config import score, train_job

    choices: Any = HydraConfig.get().runtime.choices
    overrides = list(HydraConfig.get().overrides.task)
    try:
        job = train_job(config, title=choices["recipe"], overrides=overrides)
        folder = job.run()
        if config.evaluate.names and job.processes.is_main_process:
            score(job, folder, config, name=choices["method"])
    except KeyboardInterrupt:
        log.warning("interrupted; the same command goes on from the last checkpoint")
        raise
    except Exception as error:
        end(error, ValueError, OSError)
        raise
    given = "model=folder model.source.path=" if job.whole else "adapter="
    log.info("dec2vec evaluate method=%s %s%s", choices["method"], given, folder)


def main() -> None:
    """Entry point of the verb."""
    hydra_arguments()
    run()
