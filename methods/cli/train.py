"""`dec2vec train recipe=sgpt_nli_demo`: trains a method; the folder it makes is given as adapter=.

In several processes: `torchrun --nproc-per-node N -m methods.cli train ...`, or accelerate launch.
"""

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from methods.cli.estimates import measure_start, write_estimate
from methods.cli.jobs import check_report, get_config_dir, record_status, run_verb
from methods.cli.mistakes import quote
from methods.config.names import CONF
from methods.provenance import make_portable

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def run(config: DictConfig) -> None:
    """Run one training, and score it where the config says so."""
    with record_status():
        check_report(config)
        from methods.training.config import score

        chosen: Any = HydraConfig.get().runtime.choices
        overrides = list(HydraConfig.get().overrides.task)
        whole = build_job(config, HydraConfig.get(), overrides, chooses=True)
        job = whole.train if config.docs is not None else whole
        if config.estimate:
            _log_estimate(job, config)
            return
        folder = whole.run()
        if job.processes.is_main_process:
            log.info("trained: %s", folder)
            if config.evaluate.names or config.evaluate.get("own"):
                score(job, folder, config, name=chosen["method"])
            log.info("%s", make_evaluation_command(job, folder, chosen, overrides))
            if config.docs is not None and not job.trains_all_weights:
                asked = quote("adapter", str(folder))
                log.info("dec2vec ask %s %s model=%s", config.docs, asked, chosen["model"])


def build_job(
    config: DictConfig, hydra_config: Any, overrides: list[str], *, chooses: bool = False
) -> Any:
    """Return the training that a composed config describes; with docs=DIR the one on documents.

    hydra_config: Hydra's part of the config. chooses: whether to train and score the trials that a
    learning rate is chosen by; otherwise it is the recipe's where it was not chosen before.
    """
    from methods.training.choosing import Trials, read_settings

    plain = partial(_build_plain_job, hydra_config)
    if (settings := read_settings(config)) is None:
        return plain(config, overrides)
    trials = Trials(config, overrides, settings, plain)
    found = trials.choose() if chooses else trials.find_chosen()
    return plain(config, overrides) if found is None else trials.build_chosen(found)


def _build_plain_job(hydra_config: Any, config: DictConfig, overrides: list[str]) -> Any:
    """Return a training at the learning rate that its config states."""
    from methods.training.config import build_train_job

    build: Any = build_train_job
    if config.docs is not None:
        from methods.documents.tuning.build import build_tuning_job

        build = build_tuning_job
    choices = hydra_config.runtime.choices
    return build(
        config,
        title=choices["recipe"],
        overrides=overrides,
        name=choices["method"],
        config_dir=get_config_dir(hydra_config),
    )


def _log_estimate(job: Any, config: DictConfig) -> None:
    """Log what a training and its evaluation will cost."""
    from methods.training.cost_table import format_training, format_training_line
    from methods.training.estimate import add_evaluations, estimate_training

    found = estimate_training(job, starting=measure_start())
    if not job.processes.is_main_process:
        return
    add_evaluations(found, job)
    swept = HydraConfig.get().mode == RunMode.MULTIRUN
    shown = format_training_line if swept else format_training
    log.info("%s", shown(found, config.price_per_hour))
    write_estimate(str(found.folder), tokens=found.all_tokens, seconds=found.total)


def make_evaluation_command(
    job: Any, folder: Path, chosen: Mapping[str, str], overrides: Sequence[str]
) -> str:
    """Return the command that evaluates what was trained, as it is pasted into a shell.

    An adapter folder says itself with which method it is evaluated; a whole model does not.
    """
    if job.trains_all_weights:
        words = [
            f"method={chosen['method']}",
            "model=folder",
            quote("model.source.path", str(folder)),
        ]
        words += list_method_overrides(job.method, chosen["method"])
        given = [word for word in overrides if word.startswith(("model.", "+model."))]
        given = [word for word in given if not word.lstrip("+").startswith("model.source.")]
    else:
        words = [quote("adapter", str(folder)), f"model={chosen['model']}"]
        given = [word for word in overrides if word.startswith(("model.", "+model."))]
    words += [shlex.quote(word) for word in given]
    if job.mirror is not None:
        words.append(quote("mirror", str(job.mirror)))
    scored = job.config["evaluate"]
    if scored["names"] or scored.get("own"):
        for key in ("names", "splits", "subsets", "own"):
            if scored.get(key):
                words.append(shlex.quote(f"tasks.{key}={_format_value(scored[key])}"))
    if job.config["runs"] != "runs":
        words.append(quote("runs", str(job.config["runs"])))
    if job.config_dir is not None:
        words.insert(0, f"--config-dir {shlex.quote(str(make_portable(job.config_dir)))}")
    return " ".join(["dec2vec evaluate", *words])


def list_method_overrides(method: Any, name: str) -> list[str]:
    """Return method.FIELD=VALUE for the fields in which a method differs from its YAML."""
    file = CONF / "method" / f"{name}.yaml"
    usual: Any = OmegaConf.to_container(OmegaConf.load(file)) if file.is_file() else {}
    words = []
    for field in fields(method):
        value = getattr(method, field.name)
        plain = list(value) if isinstance(value, tuple) else value
        if plain != usual.get(field.name, list(d) if isinstance(d := field.default, tuple) else d):
            added = "" if field.name in usual or not usual else "+"
            words.append(shlex.quote(f"{added}method.{field.name}={_format_value(plain)}"))
    return words


def _format_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_format_value, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_format_value(one)}' for key, one in value.items())}}}"
    if isinstance(value, str):
        return "'" + value.replace("'", "\\'") + "'" if not value.isidentifier() else value
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def main() -> None:
    """Run the verb."""
    run_verb("train", run)
