"""Build a training from a composed config, and score what it made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

from omegaconf import DictConfig, ListConfig, OmegaConf

from methods.backbone.loader import BackboneSpec, identify_backbone
from methods.backbone.sources import Folder
from methods.backbone.trained_pooling import TrainedPoolingKind, TrainedPoolingSpec
from methods.base import Method
from methods.config.resolve import ROOT_AXES, EvaluationSpec, build_backbone_spec, build_method
from methods.config.settings import TaskList, build_task_list, check_config, drop_estimate
from methods.data.rows import COLUMNS
from methods.encoding.instructions import Instructions
from methods.evaluation.job import Job
from methods.evaluation.tasks import explain_missing, load_tasks
from methods.fields import build, check_value
from methods.pooling_names import identify_pooling
from methods.training.data import Data, DataSource
from methods.training.job import TrainJob
from methods.training.objective import Objective, build_objective, digest_own_code
from methods.training.recipe import Masking, Recipe, RunOptions, Trainable
from methods.training.validation import load_validation_tasks

POOLER = "recipe.trainable.pooler"
DOCUMENTS = ("docs", "documents")  # of conf/train.yaml; what data are made of (methods/documents)


def build_train_job(
    config: DictConfig,
    *,
    title: str,
    overrides: list[str],
    name: str = "",
    config_dir: str | None = None,
) -> TrainJob:
    """Build a training, checked as far as possible before anything is loaded. Raises ValueError.

    title: what the adapter folder is named after. name: the method's, in conf/method.
    """
    check_config(config, verb="train")
    plain: Any = OmegaConf.to_container(config, resolve=True)
    values = drop_estimate(plain)
    if values.get("docs") is None:  # most trainings have none, and their records no word of it
        values = {key: value for key, value in values.items() if key not in DOCUMENTS}
    method = build_method(config.method, config_dir=config_dir, **_read_axes(config))
    spec = build_backbone_spec(config.model, kernel=config.kernel, adapter=config.adapter)
    instructions = build(Instructions, values["instructions"], key="instructions")
    recipe = build_recipe(values["recipe"])
    objective = build_objective(recipe.objective)
    objective.check(recipe)
    if spec.four_bit:
        raise ValueError("model.four_bit is for evaluation; use recipe.trainable.quantized=auto")
    data = build_data(config)
    run = _get_section(values, "run")
    wanted = _get_section(run, "validate", key="run.validate")
    del run["validate"]
    if "packed" in run:
        raise ValueError("run.packed is now kernel.packed; give kernel.packed=false to pad")
    run["packed"] = config.kernel.packed is not False
    if config.kernel.packed is True and recipe.attention_dropout:
        key = "recipe.attention_dropout"
        raise ValueError(f"kernel.packed=true, but not with {key}; give kernel.packed=auto")
    chosen_on = build_task_list(wanted, key="run.validate", mirror=values["mirror"])
    if chosen_on.names or chosen_on.own:
        run["validate"] = chosen_on
    if chosen_on.own:  # refused before a model is loaded, if they cannot be read
        load_validation_tasks(chosen_on)
    _check_scored_tasks(values, method, instructions)
    folder = config.out
    if folder is None:
        read = asdict(method) | {"pooling": identify_pooling(method.pooling)}
        about = [f"{type(method).__module__}.{type(method).__qualname__}", read]
        about += [recipe.describe(), asdict(data), identify_backbone(spec), _describe_run(run)]
        about += _digest_contents(data, objective, chosen_on)
        # Where they choose the checkpoint they decide what is trained, as method and data do.
        if "validate" in run and instructions != Instructions():
            about += [asdict(instructions)]
        mark = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
        folder = Path(config.runs) / "adapters" / f"{title}_{mark[:8]}"
    return TrainJob(
        method=method,
        spec=spec,
        recipe=recipe,
        objective=objective,
        data=data,
        run_options=build(RunOptions, run, key="run"),
        folder=Path(folder),
        name=name,
        title=title,
        mirror=values["mirror"],
        instructions=instructions,
        overrides=list(overrides),
        config=values,
        config_dir=config_dir,
    )


def _describe_run(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a run that a folder is named after: none that changes memory alone."""
    described = {name: value for name, value in run.items() if name != "mini_batch_tokens"}
    return described | {"gradient_checkpointing": False}


def _digest_contents(data: Data, objective: Objective, chosen_on: TaskList) -> list[Any]:
    """Return digests of the user's files: an edited data file or objective is another training, and
    so is one whose checkpoint is chosen on other data."""
    files = {key: digest for key, one in data.sources.items() if (digest := one.digest())}
    own = [one.digest() for one in chosen_on.own]
    return [part for part in (files, digest_own_code(objective), own) if part]


def score(job: TrainJob, folder: Path, config: DictConfig, *, name: str) -> None:
    """Evaluate what was trained, and the untrained model first, into records under `runs`."""
    values: Any = OmegaConf.to_container(config, resolve=True)
    job = replace(job, config=drop_estimate(values), name=name)
    evaluations = build_evaluations(job, folder, trained=True)
    while evaluations:  # each holds its model, and there is one at a time
        evaluations.pop(0).run()


def build_evaluations(job: TrainJob, folder: Path, *, trained: bool) -> list[Job]:
    """Return the evaluations that a training asks for: of the untrained model, if it wants that,
    and, where it is `trained`, of what is in its folder."""
    before, tasks = resolve_scored_tasks(job.config)
    # New tokens cannot be encoded before an adapter brings their rows.
    before = before and (bool(job.spec.adapters) or not job.method.new_tokens)
    specs = [job.spec] if before else []
    if trained:
        specs.append(find_trained_spec(job, folder))
    return [build_evaluation(job, spec, tasks) for spec in specs]


def find_trained_spec(job: TrainJob, folder: Path) -> BackboneSpec:
    """Return the model that a finished training left in its folder: all weights, or an adapter."""
    if job.trains_all_weights:
        name = f"{job.spec.name}-{folder.name}"
        return replace(job.spec, name=name, source=Folder(path=str(folder)), adapters=())
    return replace(job.spec, adapters=(str(folder),))


def build_evaluation(job: TrainJob, spec: BackboneSpec, tasks: TaskList) -> Job:
    """Return the evaluation of a model with a training's method."""
    return Job(
        evaluation=EvaluationSpec(job.name, spec, [job.method], job.instructions),
        tasks=tasks,
        runs=Path(job.config["runs"]),
        cache=job.config["cache"],
        overrides=job.overrides,
        config=job.config,
        config_dir=job.config_dir,
        verb="train",
        chosen=job.chosen if spec != job.spec else None,
    )


def resolve_scored_tasks(values: Mapping[str, Any]) -> tuple[bool, TaskList]:
    """Return whether to score before training too, and the tasks: section `evaluate`, checked."""
    wanted = _get_section(values, "evaluate")
    before = wanted.pop("before", False)
    check_value("evaluate.before", before, bool)
    return before, build_task_list(wanted, key="evaluate", mirror=values["mirror"])


def _read_axes(config: DictConfig) -> dict[str, Any]:
    """Return the method's axes at a config's root. Raises ValueError for several values of one."""
    axes = {axis: config[axis] for axis in ROOT_AXES}
    for axis, value in axes.items():
        if value is None or isinstance(value, ListConfig) or value == "all":
            shown = "null" if value is None else value
            raise ValueError(
                f"{axis}={shown}, but a training has one {axis}; for one each write "
                f"-m {axis}=A,B, or leave {axis} out to take the method's own"
            )
    return axes


def _check_scored_tasks(
    values: Mapping[str, Any], method: Method, instructions: Instructions
) -> None:
    """Refuse, before a training, tasks that could not be scored after it."""
    _, wanted = resolve_scored_tasks(values)
    if not wanted.names and not wanted.own:
        return
    tasks, missing = load_tasks(wanted)
    if not tasks:
        raise ValueError(explain_missing(missing, names="evaluate.names"))
    if method.uses_instructions:
        for task in tasks:
            instructions.find(task.metadata)


def build_data(config: DictConfig) -> Data:
    """Build the data a YAML names, every source checked."""
    values: Any = OmegaConf.to_container(config.data, resolve=True)
    written = OmegaConf.to_container(config.data, resolve=False)
    folder = values.pop("folder", None)  # not a field: paths of sources are made with it
    if folder is not None and "${data.folder}" not in json.dumps(written, default=str):
        raise ValueError("data.folder is used by no source here; it is for data=e5_public")
    sources = {}
    for name, part in _get_section(values, "sources", key="data.sources").items():
        key = f"data.sources.{name}"
        part = _get_section({name: part}, name, key=key)
        columns = _get_section({"columns": {}, **part}, "columns", key=f"{key}.columns")
        if unknown := set(columns) - set(COLUMNS):
            raise ValueError(
                f"{key}.columns names {', '.join(map(str, sorted(unknown)))}; valid: "
                f"{', '.join(COLUMNS)} (ours), each with the name it has in the data"
            )
        columns = {own: theirs for own, theirs in columns.items() if theirs}
        sources[name] = build(DataSource, {**part, "columns": columns}, key=key)
    if not sources:
        raise ValueError("data.sources is empty; choose data: data=NAME, or data=file")
    return build(Data, {**values, "sources": sources}, key="data")


def build_recipe(values: Mapping[str, Any]) -> Recipe:
    """Build a recipe from a YAML's values, its fields checked."""
    if not isinstance(values, Mapping):
        raise ValueError(f"recipe={values} is no recipe; give recipe=NAME")
    if "recipe" in values:
        raise ValueError("recipe.recipe: a recipe YAML's first line is `# @package _global_`")
    trainable = _get_section({"trainable": {}, **values}, "trainable", key="recipe.trainable")
    pooler = trainable.pop("pooler", None) or {"kind": "none"}
    pooler = _get_section({"pooler": pooler}, "pooler", key="recipe.trainable.pooler")
    trainable["pooler"] = None
    spec = build(TrainedPoolingSpec, {**pooler, "kind": _find_pooler_kind(pooler)}, key=POOLER)
    if pooler.get("kind") != "none":
        trainable["pooler"] = spec
    masking = _get_section({"masking": {}, **values}, "masking", key="recipe.masking")
    parts = {
        "masking": build(Masking, masking, key="recipe.masking"),
        "trainable": build(Trainable, trainable, key="recipe.trainable"),
    }
    return build(Recipe, {**values, **parts}, key="recipe")


def _find_pooler_kind(pooler: Mapping[str, Any]) -> Any:
    """Return the kind to check the other fields with: any, where there is no pooler."""
    kind = pooler.get("kind")
    if kind not in ("none", *get_args(TrainedPoolingKind)):
        valid = ("none", *get_args(TrainedPoolingKind))
        raise ValueError(f"{POOLER}.kind {kind!r} is unknown; valid: {', '.join(valid)}")
    return get_args(TrainedPoolingKind)[0] if kind == "none" else kind


def _get_section(values: Mapping[str, Any], name: str, *, key: str = "") -> dict[str, Any]:
    """Return a section of a config. Raises ValueError where it is one value."""
    if name not in values:
        raise ValueError(f"{key or name} was taken out; leave ~{key or name} out")
    if not isinstance(part := values[name], Mapping):
        raise ValueError(
            f"{key or name}={part} is one value where a mapping is meant, {{KEY: ...}}"
        )
    return dict(part)
