"""Build a training on documents from a composed config: `dec2vec train docs=DIR`."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from methods.config.resolve import build_backbone_spec
from methods.config.settings import check_config, get_section
from methods.documents.tuning.job import TuningJob
from methods.documents.tuning.material import Material, read_material, write_material
from methods.documents.tuning.settings import build_settings
from methods.documents.vectors import INSTRUCTION
from methods.records import check_writable
from methods.training.config import build_train_job

log = logging.getLogger(__name__)
REPLACED = ("data", "run.validate")  # what the documents give


def build_tuning_job(
    config: DictConfig,
    *,
    title: str,
    overrides: list[str],
    name: str = "",
    config_dir: str | None = None,
) -> TuningJob:
    """Build a training on documents, checked before a model is loaded. Raises ValueError.

    title, name: as of build_train_job.
    """
    _refuse_replaced(overrides)
    check_config(config, verb="train")
    if config.get("estimate"):
        raise ValueError(
            "estimate=true estimates no training on documents; the same command without it writes "
            "its pairs to RUNS/documents at once, and data=file data.sources.mine.path=PAIRS "
            "estimate=true estimates a training on these"
        )
    settings = build_settings(config.docs, get_section(config, "documents"))
    runs = Path(config.runs)
    check_writable(runs)
    spec = build_backbone_spec(config.model, kernel=config.kernel, adapter=config.adapter)
    material = read_material(settings, lambda: load_spec_tokenizer(spec))
    folder = write_material(material, settings, runs)
    job = build_train_job(
        _give_data(config, folder, material),
        title=title,
        overrides=overrides,
        name=name,
        config_dir=config_dir,
    )
    _check_training(job, material)
    return TuningJob(job, material, settings, folder)


def load_spec_tokenizer(spec: Any) -> Any:
    """Return a model's tokenizer; its weights are not loaded."""
    from methods.backbone.loader import load_config
    from methods.backbone.weights import load_tokenizer

    return load_tokenizer(load_config(spec)[0], spec)


def _refuse_replaced(overrides: list[str]) -> None:
    for word in overrides:
        key = word.lstrip("+~").partition("=")[0]
        if any(key == one or key.startswith(f"{one}.") for one in REPLACED):
            raise ValueError(
                f"{word}: docs=DIR makes the training data and the validation itself; leave it "
                f"out. Pairs of your own are trained on beside these: documents.files=[FILE]"
            )


def _give_data(config: DictConfig, folder: Path, material: Material) -> DictConfig:
    """Return the config with the documents' pairs as data, and their questions as validation."""
    config = copy.deepcopy(config)
    sources = {
        name: {"path": str(folder / "pairs" / f"{name}.jsonl"), "instruction": INSTRUCTION}
        for name, pairs in material.pairs.rows.items()
        if pairs
    }
    validation = {"path": str(folder / "validation"), "kind": "retrieval"}
    with open_dict(config):
        data = {"bad_rows": "error", "compare_with": [], "sources": sources}
        config.data = OmegaConf.create(data)
        config.run.validate = {
            "names": [],
            "splits": None,
            "own": [{**validation, "name": "validation", "instruction": INSTRUCTION}],
        }
    return config


def _check_training(job: Any, material: Material) -> None:
    """Refuse what cannot be trained on the pairs, or not be scored before training."""
    if job.objective.reads != "pairs":
        raise ValueError(
            f"docs=DIR makes pairs, and recipe.objective={job.recipe.objective} reads texts; "
            f"choose a contrastive recipe: recipe=own_documents"
        )
    if job.method.new_tokens and not job.spec.adapters:
        raise ValueError(
            f"{', '.join(job.method.new_tokens)} are new tokens, which cannot be scored before "
            f"training; use method.delimiters=reuse"
        )
    if job.processes.num_processes > 1:
        raise ValueError("docs=DIR trains in one process; leave out torchrun")
    for source, pairs in material.pairs.rows.items():
        if 0 < len(pairs) < job.recipe.batch_size:
            raise ValueError(
                f"{source}: {len(pairs)} training pairs are fewer than a batch; give "
                f"recipe.batch_size={len(pairs)} (now {job.recipe.batch_size}), or leave them out "
                f"of documents.pairs"
            )
    if job.recipe.steps is not None and job.run_options.every > job.recipe.steps:
        raise ValueError(
            f"run.every={job.run_options.every} is more than recipe.steps={job.recipe.steps}, so "
            f"no checkpoint would be chosen; give run.every={job.recipe.steps}, or less"
        )
