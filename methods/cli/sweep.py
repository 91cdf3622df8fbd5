"""Begin a sweep with one line: its jobs, how many are done, and about how long the others take.

Hydra calls this before any launcher starts a job, in the process that the user started. No model
and no data are loaded. A job's config is composed by Hydra once for each choice of groups; single
values are then set as Hydra sets them, since composing takes a tenth of a second.
"""

from __future__ import annotations

import copy
import itertools
import logging
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from methods.cli.jobs import MISTAKES, get_config_dir
from methods.config.names import list_groups

log = logging.getLogger(__name__)


class BeforeSweep(Callback):
    """Log the line."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Count the jobs of a sweep and predict their time."""
        if config.hydra.job.config_name not in FIND:
            return
        try:
            log.info("%s", describe_sweep(config))
        except MISTAKES as error:  # Hydra composes the same jobs next, and says so
            log.debug("no count of the jobs: %s", error)


def describe_sweep(config: DictConfig) -> str:
    """Return how many jobs a sweep has, what is left of them, and how long that takes."""
    choices = config.hydra.runtime.choices
    if choices["hydra/sweeper"] != "basic":
        return f"{config.hydra.sweeper.n_trials} jobs, which the search chooses; time unknown"
    verb = config.hydra.job.config_name
    counts = {"done": 0, "unfinished": 0, "to do": 0}
    known, unknown = [], 0
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # each job says these things itself
    try:
        for state, seconds in _find_states(verb, _compose_jobs(config)):
            counts[state] += 1
            if seconds is None:
                unknown += 1
            elif state != "done":
                known.append(seconds)
    finally:
        logging.disable(before)
    parts = [f"{number} {state}" for state, number in counts.items() if number]
    if counts["done"] < sum(counts.values()):
        parts.append(_describe_time(known, unknown, choices["hydra/launcher"] == "basic"))
    return f"{sum(counts.values())} jobs: {', '.join(parts)}"


def _describe_time(known: Sequence[float], unknown: int, one_by_one: bool) -> str:
    from methods.evaluation.amounts import format_duration

    if not known:
        return "time unknown"
    work = "" if one_by_one else " of work, all jobs together"
    lost = f" (and {unknown} jobs of unknown time)" if unknown else ""
    return f"about {format_duration(sum(known))}{work}{lost}"


def _compose_jobs(config: DictConfig) -> Iterator[tuple[DictConfig, DictConfig, list[str]]]:
    """Yield each job's config, Hydra's part of it, and its overrides."""
    loader: Any = GlobalHydra.instance().config_loader()
    parser = OverridesParser.create(config_loader=loader)
    given = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    given += config.hydra.overrides.task
    composed: dict[tuple[str, ...], tuple[DictConfig, DictConfig]] = {}
    values: dict[str, Any] = {}
    groups = list_groups(config.hydra.job.config_name)
    for words in itertools.product(*_list_values(parser.parse_overrides(given))):
        plain = [word for word in words if _sets_a_value(word, groups)]
        chosen = tuple(word for word in words if word not in plain)
        if chosen not in composed:
            whole = loader.load_sweep_config(config, list(chosen))
            with open_dict(whole):
                composed[chosen] = whole, whole.pop("hydra")
        base, own = composed[chosen]
        job = copy.deepcopy(base)
        for word in plain:
            if word not in values:
                values[word] = parser.parse_override(word).value()
            OmegaConf.update(job, word.partition("=")[0], values[word], merge=True)
        yield job, own, list(words)


def _list_values(overrides: Sequence[Any]) -> list[list[str]]:
    """Return the words of each override, one for each of its values. The last of a key counts."""
    found: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if override.is_sweep_override():
            found[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            found[key] = [f"{key}={override.get_value_element_as_str()}"]
    return list(found.values())


def _sets_a_value(word: str, groups: Collection[str]) -> bool:
    """Return whether an override sets one value of the config, and chooses no group."""
    key = re.match(r"[a-z_]\w*(\.\w+)*(?==)", word)
    return key is not None and key[0] not in groups


def _find_states(verb: str, jobs: Any) -> Iterator[tuple[str, float | None]]:
    """Yield the state of each job, and the seconds that the rest of it takes, if they are known."""
    histories: dict[str, Any] = {}
    for config, hydra_config, words in jobs:
        try:
            yield FIND[verb](config, hydra_config, words, histories)
        except MISTAKES:  # the job will say what is wrong with it
            yield "to do", None


def _find_evaluation(
    config: DictConfig, hydra_config: DictConfig, words: list[str], histories: dict[str, Any]
) -> tuple[str, float | None]:
    from methods.cli.evaluate import build_job
    from methods.evaluation.history import History

    name, folder = hydra_config.runtime.choices["method"], get_config_dir(hydra_config)
    job = build_job(config, name=name, overrides=words, config_dir=folder, swept=True)
    history = _open_history(config.runs, History, histories)
    left = history.find_left(job)
    return left.state, history.predict(job, left)


def _find_training(
    config: DictConfig, hydra_config: DictConfig, words: list[str], histories: dict[str, Any]
) -> tuple[str, float | None]:
    from methods.cli.train import build_job
    from methods.training.history import History

    job = build_job(config, hydra_config, words)
    if config.docs is not None:  # how long its rows take is unknown
        return ("done", 0.0) if job.is_finished else ("to do", None)
    return _open_history(config.runs, History, histories).find_left(job)


def _open_history(runs: str, kind: Any, histories: dict[str, Any]) -> Any:
    """Return what the records of a runs folder tell, read once."""
    if runs not in histories:
        histories[runs] = kind(Path(runs))
    return histories[runs]


FIND = {"evaluate": _find_evaluation, "train": _find_training}  # verbs whose jobs leave records
