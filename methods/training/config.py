"""From names in conf/ to a training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from methods.backbone.loader import identity
from methods.backbone.pooler import PoolerSpec
from methods.backbone.sources import Folder
from methods.evaluation.config import Plan, backbone_of, make, method_of
from methods.evaluation.instructions import Instructions
from methods.evaluation.job import Job
from methods.evaluation.tasks import TaskList
from methods.training.data import Data, Source
from methods.training.job import TrainJob
from methods.training.recipe import Masking, Recipe, Run, Trainable


def train_job(config: DictConfig, *, title: str, overrides: list[str]) -> TrainJob:
    """A training, checked as far as it can be before anything is read. Raises ValueError.

    title: what the adapter folder is named after.
    """
    values: Any = OmegaConf.to_container(config, resolve=True)
    method = method_of(config.method)
    spec = backbone_of(config.model, adapter=config.adapter)
    recipe = recipe_of(values["recipe"])
    given = {key: value for key, value in values["data"].items() if key != "folder"}
    sources = {}
    for key, part in given.pop("sources").items():
        columns = {own: theirs for own, theirs in part.get("columns", {}).items() if theirs}
        sources[key] = make(Source, {**part, "columns": columns})
    data = make(Data, {**given, "sources": sources})
    run = dict(values["run"])
    wanted = {key: value for key, value in run.pop("validate").items() if value}
    if wanted.get("names"):
        wanted["mirror"] = values["mirror"]
        run["validate"] = make(TaskList, wanted)
    folder = config.out
    if folder is None:
        about = [f"{type(method).__module__}.{type(method).__qualname__}", asdict(method)]
        about += [asdict(recipe), asdict(data), identity(spec), run]
        # A file edited under the same path is other data, and its training another.
        held = {key: digest for key, one in sources.items() if (digest := one.digest())}
        about += [held] if held else []
        mark = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
        folder = Path(config.runs) / "adapters" / f"{title}_{mark[:8]}"
    return TrainJob(
        method=method,
        spec=spec,
        recipe=recipe,
        data=data,
        run_as=make(Run, run),
        folder=Path(folder),
        title=title,
        mirror=values["mirror"],
        overrides=list(overrides),
        config=values,
    )


def score(job: TrainJob, folder: Path, config: DictConfig, *, name: str) -> None:
    """Evaluate what was trained, and before it the same without, into records under `runs`."""
    values: Any = OmegaConf.to_container(config, resolve=True)
    wanted = {key: value for key, value in values["evaluate"].items() if value}
    before = wanted.pop("before", False)
    job.release()
    trained = replace(job.spec, adapters=(str(folder),))
    if job.whole:
        own = Folder(path=str(folder))
        trained = replace(job.spec, name=f"{job.spec.name}-{folder.name}", source=own, adapters=())
    # New tokens cannot be read before an adapter brings their rows.
    before = before and (bool(job.spec.adapters) or not job.method.new_tokens)
    for spec in (job.spec, trained) if before else (trained,):
        Job(
            plan=Plan(name, spec, [job.method], Instructions()),
            tasks=make(TaskList, {**wanted, "mirror": values["mirror"]}),
            runs=Path(values["runs"]),
            overrides=job.overrides,
            config=values,
            verb="train",
        ).run()


def recipe_of(values: dict[str, Any]) -> Recipe:
    """The recipe a YAML says, its fields checked."""
    trainable = dict(values.get("trainable") or {})
    pooler = trainable.pop("pooler", None) or {"kind": "none"}
    trainable["pooler"] = None if pooler["kind"] == "none" else make(PoolerSpec, pooler)
    parts = {
        "masking": make(Masking, values.get("masking") or {}),
        "trainable": make(Trainable, trainable),
    }
    return make(Recipe, {**values, **parts})
