"""Build the job that a record describes, run it again and compare the two records.

A record states everything that was resolved: the method's fields, the model, adapters, tasks with
splits and subsets, the recipe. The job is built from these, not from the command, so that a changed
default does not change the rerun. The new record states the command of the old one.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from methods.backbone.hardware import resolve_dtype
from methods.cli.record_comparison import (
    TOLERANCE,
    Comparison,
    compare_evaluations,
    compare_trainings,
)
from methods.config.own_tasks import build_own_task
from methods.config.plugins import import_class, make_importable
from methods.config.resolve import (
    EvaluationSpec,
    build_backbone_spec,
    compose,
    resolve_posts,
)
from methods.config.settings import TaskList
from methods.encoding.instructions import Instructions
from methods.encoding.post import Post
from methods.evaluation.job import Job, TasksFailed
from methods.fields import build
from methods.identity import digest
from methods.pooling_names import find_pooling
from methods.provenance import find_processor
from methods.records import read_json


def rerun(
    file: Path, *, overrides: Sequence[str] = (), runs: Path, config_dir: str | None = None
) -> Comparison:
    """Rerun what a record states, under `runs`, and compare the two.

    overrides: what may differ (mirror, adapter, model, kernel). Raises ValueError for a file that
    is no record, and for data, adapters or a dtype that this machine lacks.
    """
    old = read_json(file)
    if lacking := [key for key in ("command", "config", "versions") if key not in old]:
        raise ValueError(f"{file} is no record that can be rerun: it lacks {', '.join(lacking)}")
    changes = _parse_changes(overrides)
    if folder := config_dir or old.get("config_dir"):
        make_importable(folder)
    runs = runs / digest([str(file.resolve()), list(overrides)])
    if file.name == "training.json":
        return _rerun_training(file, old, changes, runs, folder)
    return _rerun_evaluation(file, old, changes, runs, folder)


def _parse_changes(overrides: Sequence[str]) -> DictConfig:
    valid = ("mirror", "adapter", "model", "kernel")
    for override in overrides:
        key = override.partition("=")[0]
        if "=" not in override or key.removeprefix("tasks.").split(".")[0] not in valid:
            raise ValueError(
                f"{override!r} cannot be changed in a rerun; valid: mirror=DIR, adapter=DIR, "
                f"model.KEY=VALUE (dtype, device, batch_tokens, source.path), kernel.KEY=VALUE"
            )
    return OmegaConf.from_dotlist([o.removeprefix("tasks.") for o in overrides])


def _rerun_evaluation(
    file: Path, old: Mapping[str, Any], changes: DictConfig, runs: Path, folder: str | None
) -> Comparison:
    cell = file.parent.parent
    parts = _read_scores(cell, old)
    if not parts:
        raise ValueError(f"{file} has no finished task, so there is nothing to rerun")
    values = dict(old["method_config"])
    values["pooling"] = find_pooling(values["pooling"], folder)
    method = build(
        import_class(values.pop("class"), "method.class"), _replace_lists(values), key="method"
    )
    adapters = _find_adapters(old, changes)
    spec = build_backbone_spec(_restore_model(old, changes), adapter=adapters)
    instructions = build(Instructions, old["config"].get("instructions") or {})
    names = list(dict.fromkeys(task for task, _, _ in parts))
    own = _find_own_tasks(old)
    tasks = TaskList(
        names=[name for name in names if name not in own],
        own=[build_own_task(own[name], key=f"{file}: {name}") for name in names if name in own],
        splits={name: list(dict.fromkeys(s for t, s, _ in parts if t == name)) for name in names},
        subsets=_list_subsets(parts),
        mirror=changes.get("mirror") or _find_mirror(old),
    )
    verb, *given = shlex.split(old["command"])[1:] or ["evaluate"]
    job = Job(
        evaluation=EvaluationSpec(
            old["method"], spec, [method], instructions, posts=_restore_post(old)
        ),
        tasks=tasks,
        runs=runs,
        overrides=given,
        config=old["config"],
        verb=verb,
    )
    try:
        job.run()
    except TasksFailed as error:
        raise ValueError(str(error)) from error
    record = job.records[0]
    return compare_evaluations(
        old, record.read(), parts, _read_scores(record.path.parent.parent, record.read())
    )


def _restore_post(old: Mapping[str, Any]) -> list[Post]:
    """Return the recorded post; a quantisation is fitted again, on the same texts."""
    stated = old.get("post") or {}
    fitted = stated.get("fitted_on")
    posts = resolve_posts(stated.get("steps"), fitted and fitted["name"])
    if fitted and posts[0].describe()["fitted_on"]["digest"] != fitted["digest"]:
        raise ValueError(
            f"the record's {stated['steps']} was fitted on {fitted['name']} as it was then; its "
            f"texts are others now"
        )
    return posts


def _rerun_training(
    file: Path, old: Mapping[str, Any], changes: DictConfig, runs: Path, folder: str | None
) -> Comparison:
    from methods.training.config import build_train_job

    config = _restore_training_config(old["config"])
    config.model = _restore_model(old, changes)
    config.adapter = changes.get("adapter") or sorted(map(str, file.parent.glob("below/*"))) or None
    config.out, config.evaluate = str(runs / file.parent.name), {"names": []}
    if "mirror" in changes:
        config.mirror = changes.mirror
    given = shlex.split(old["command"])[2:]
    given = given[2:] if given[:1] == ["--config-dir"] else given  # the job states its own
    name = old.get("name", "")
    job = build_train_job(config, title=old["title"], overrides=given, name=name, config_dir=folder)
    new = read_json(job.run() / "training.json")
    return compare_trainings(old, new, folder=runs / file.parent.name)


def _restore_training_config(recorded: Mapping[str, Any]) -> DictConfig:
    """Return a recorded training's config, completed with the keys that were added since."""
    today: Any = OmegaConf.to_container(compose(["recipe=demo"], verb="train"), resolve=False)
    run = dict(recorded["run"])
    packed = run.pop("packed", True)  # renamed: kernel.packed
    config: Any = OmegaConf.create({**today, **recorded, "run": run})
    if packed is False:
        config.kernel.packed = False
    return config


def _restore_model(old: Mapping[str, Any], changes: DictConfig) -> DictConfig:
    """Return the recorded model in the recorded dtype, with the changes applied.

    Raises ValueError where the machine does not compute in that dtype.
    """
    switches = old["config"].get("kernel") or {}  # below the model's own, where records have both
    recorded = {("kernel" if key == "attention" else key): v for key, v in switches.items()}
    recorded |= old["config"]["model"]
    recorded.pop("adapters", None)  # records of schema 0 hold this key, which never had an effect
    dtype = str(old.get("dtype") or old["base"]["dtype"])
    four_bit = dtype.startswith("nf4_")
    recorded["dtype"] = dtype.removeprefix("nf4_")
    model: Any = OmegaConf.merge(recorded, changes.get("model") or {})
    for key, value in (changes.get("kernel") or {}).items():
        model["kernel" if key == "attention" else key] = value
    device = str(model.get("device", "auto"))
    usual = resolve_dtype("auto", device)
    if model.dtype in ("bfloat16", "float16") and usual == "float32" and not four_bit:
        raise ValueError(
            f"the record is in {model.dtype}, for which this machine ({find_processor()}) has no "
            f"units; give model.dtype=float32. Scores then agree within about {TOLERANCE['half']} "
            f"points"
        )
    return model


def _find_adapters(old: Mapping[str, Any], changes: DictConfig) -> list[str]:
    """Return the recorded adapters, or those given; the comparison reports whether they differ."""
    given = changes.get("adapter") or old["adapters"]
    adapters = [given] if isinstance(given, str) else [str(path) for path in given]
    for adapter in adapters:
        if not Path(adapter).is_dir():
            raise ValueError(
                f"the record was made with the adapter {adapter}, which is not here; say where it "
                f"is (adapter=DIR), or train it again: {_find_training_command(old)}"
            )
    return adapters


def _find_training_command(old: Mapping[str, Any]) -> str:
    commands = [part["command"] for part in old.get("training", []) if "command" in part]
    return commands[-1] if commands else "the record does not say how it was trained"


def _find_mirror(old: Mapping[str, Any]) -> str | None:
    config = old["config"]
    return config.get("mirror") or (config.get("tasks") or {}).get("mirror")


def _find_own_tasks(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tasks on the user's own data by name: what was given of each, as in a config."""
    stated = [entry["own"] for entry in old["tasks"].values() if entry.get("own")]
    return {own["name"]: own["given"] for own in stated}


def _list_subsets(parts: Iterable[tuple[str, str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for task, _, subset in parts:
        if subset not in found.setdefault(task, []):
            found[task].append(subset)
    return {task: subsets for task, subsets in found.items() if subsets != ["default"]}


def _read_scores(cell: Path, record: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    """Return (task, split, subset) -> main score x 100 of a record's finished tasks.

    A user's own data are named by the task that they replace in the mirror, or without a digest.
    """
    found = {}
    for task, entry in record["tasks"].items():
        result = cell / f"{task}.json"
        if not result.is_file() or entry.get("status") not in ("done", "failed"):
            continue
        for split, scores in read_json(result)["scores"].items():
            for one in scores:
                if split in entry["splits"] and one["hf_subset"] in entry["subsets"]:
                    name = (entry.get("own") or {}).get("name") or entry.get("derived_from") or task
                    place = (name, split, one["hf_subset"])
                    found[place] = 100 * one["main_score"]
    return found


def _replace_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
