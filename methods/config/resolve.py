"""Build objects from names in conf/, in the same way for the command line and for Python."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from methods.backbone.loader import BackboneSpec
from methods.backbone.sources import Random
from methods.backbone.weights import check_random
from methods.base import Method
from methods.config.names import CONF, list_choices
from methods.config.plugins import import_class
from methods.config.renamed import check_attributes, rename_overrides
from methods.config.settings import check_config
from methods.config.trained_as import list_trained_fields, list_trained_folders, read_training
from methods.data.calibration import read_calibration_texts
from methods.encoding.instructions import Instructions
from methods.encoding.post import NO_POST, Corpus, Post, parse_post
from methods.encoding.store import MemoryStore, Store, open_cache
from methods.fields import build, nearest
from methods.folders import find_embeddings_folder
from methods.pooling_names import find_pooling
from methods.provenance import make_portable

__all__ = ["CONF", "list_choices"]  # from methods.config.names

log = logging.getLogger(__name__)
MEMORY_BYTES = 2 << 30
CELL_AXES = ("pooling", "layer", "normalize")
ROOT_AXES = ("attention", *CELL_AXES)


@dataclass(frozen=True)
class EvaluationSpec:
    """A resolved job: which model, which cells (methods that share a pass), which instructions.

    all_layers: whether every layer is wanted, whose number only the model knows. posts: what is
    done to the vectors of each cell, one column of results each.
    """

    name: str
    spec: BackboneSpec
    cells: list[Method]
    instructions: Instructions
    all_layers: bool = False
    posts: Sequence[Post] = (NO_POST,)


def resolve_evaluation(
    config: DictConfig,
    *,
    name: str,
    overrides: Iterable[str] = (),
    config_dir: str | None = None,
    verb: str = "evaluate",
) -> EvaluationSpec:
    """Resolve an evaluation before a model is loaded. Raises ValueError on bad input.

    overrides: those of the command line, which an adapter's own settings do not replace.
    config_dir: a folder that may hold poolings of your own. verb: whose config it is.
    """
    check_config(config, verb=verb)
    overrides = list(overrides)
    config = _apply_training(config, list_overridden_fields(overrides))
    axes = {axis: _read_axis(axis, config[axis]) for axis in ROOT_AXES if axis in config}
    if len(axes.get("attention", [])) > 1:
        raise ValueError(
            "attention takes one value in a job, since each needs a separate forward pass; sweep "
            "it: dec2vec evaluate -m attention=causal,bidirectional"
        )
    all_layers = axes.get("layer") == ["all"]
    if all_layers:
        axes["layer"] = [-1]
    elif bad := [value for value in axes.get("layer", []) if isinstance(value, str)]:
        raise ValueError(
            f"layer {bad[0]!r} is unknown; it takes a whole number (0: the embeddings, -1: after "
            f"the final norm), a list of them, or all, alone"
        )
    if "pooling" in axes:
        axes["pooling"] = [find_pooling(value, config_dir) for value in axes["pooling"]]
    first = {axis: values[0] for axis, values in axes.items()}
    method = build_method(config.method, config_dir=config_dir, **first)
    grid = itertools.product(*(axes.get(axis, [getattr(method, axis)]) for axis in CELL_AXES))
    cells = [replace(method, **dict(zip(CELL_AXES, values, strict=True))) for values in grid]
    spec = build_backbone_spec(config.model, kernel=config.get("kernel"), adapter=config.adapter)
    if method.new_tokens and not spec.adapters:
        raise ValueError(
            f"{name} with delimiters=new needs {', '.join(method.new_tokens)}, whose embeddings "
            f"only an adapter has: give adapter=PATH, or use method.delimiters=reuse"
        )
    instructions = build(Instructions, _to_container(config.instructions), key="instructions")
    if not method.uses_instructions and any(
        word.lstrip("+").startswith("instructions") for word in overrides
    ):
        log.warning("%s uses no instruction; instructions=... has no effect", name)
    posts = resolve_posts(config.get("post"), config.get("fit_on"))
    return EvaluationSpec(name, spec, cells, instructions, all_layers, posts)


def resolve_posts(value: Any, fit_on: str | None) -> list[Post]:
    """Return the posts that a setting names, one or several, with the texts they are fitted on."""
    posts = list(dict.fromkeys(parse_post(one) for one in as_list(value)))
    if not posts:
        raise ValueError("post=[] names no value; leave post out, or write post=null")
    if not any(post.is_fitted for post in posts):
        return posts
    if not fit_on:
        raise ValueError("post=int8 needs texts to measure ranges on; give fit_on=NAME or FILE")
    corpus = Corpus(make_portable(fit_on), tuple(read_calibration_texts(fit_on)))
    return [replace(post, corpus=corpus) if post.is_fitted else post for post in posts]


def list_overridden_fields(overrides: Iterable[str]) -> set[str]:
    """Return the fields of a method that overrides set by name, those of a template among them."""
    found: set[str] = set()
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key.startswith("method.") or key in ROOT_AXES:
            found.add(key.removeprefix("method."))
        elif key == "template" and (file := CONF / "template" / f"{value}.yaml").is_file():
            found |= {
                str(field) for field in OmegaConf.select(OmegaConf.load(file), "method", default={})
            }
    return found


def _apply_training(config: DictConfig, overridden: set[str]) -> DictConfig:
    """Return the config with the method as it was trained, except for overridden fields."""
    adapters = [str(path) for path in as_list(config.adapter)] if config.get("adapter") else []
    folders = list_trained_folders(adapters, OmegaConf.select(config, "model.source.path"))
    if not read_training(folders):
        return config
    target = import_class(OmegaConf.select(config, "method._target_"), "method._target_")
    usual = {f.name: f.default for f in fields(target)}
    composed = _to_container(config.method)
    other = {k for k, v in composed.items() if k in usual and v != _replace_tuple(usual[k])}
    trained = list_trained_fields(target, folders, overridden=overridden | other)
    changed = {k: v for k, v in trained.items() if composed.get(k, usual[k]) != _replace_tuple(v)}
    if changed:
        settings = ", ".join(f"{key}={value}" for key, value in changed.items())
        log.info("as %s was trained: %s", folders[-1], settings)
        config = copy.deepcopy(config)
        with open_dict(config):
            config.method.update({key: _replace_tuple(value) for key, value in changed.items()})
    return config


def _replace_tuple(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def build_method(config: DictConfig, *, config_dir: str | None = None, **axes: Any) -> Method:
    """Build the method that a YAML names, with its fields checked and its pooling found."""
    if not isinstance(config, DictConfig) or "_target_" not in config:
        raise ValueError("no method is chosen; give method=NAME (dec2vec methods lists them)")
    values = _to_container(config)
    target = import_class(values.pop("_target_"), "method._target_")
    check_attributes(target)
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    values |= axes
    if "pooling" in values:
        values["pooling"] = find_pooling(values["pooling"], config_dir)
    method = build(target, values, key="method")
    for field in ("unnormalized", "queries_only"):
        if (named := getattr(method, field)) != getattr(target, field):
            _check_task_types(field, named)
    return method


def _check_task_types(field: str, named: Iterable[str]) -> None:
    from mteb.abstasks.task_metadata import TaskType  # seconds, for whoever names one

    for unknown in set(named) - set(get_args(TaskType)):
        raise ValueError(
            f"method.{field} names {unknown}, which is no task type of mteb"
            f"{nearest(unknown, get_args(TaskType))}"
        )


def build_backbone_spec(
    config: DictConfig, *, kernel: DictConfig | None = None, adapter: Any = None
) -> BackboneSpec:
    """Build the spec of the model that a YAML names, with its fields checked.

    kernel: how it runs (KernelSettings), but for what the model's own section says.
    """
    switches = _to_container(kernel) if kernel is not None else {}
    values = {("kernel" if key == "attention" else key): v for key, v in switches.items()}
    values |= _to_container(config)
    if values.pop("adapters", None):
        raise ValueError("model.adapters is no key; give adapter=DIR, or adapter=[DIR,DIR]")
    source = values.pop("source", None)
    source = dict(source) if isinstance(source, dict) else {}
    if "_target_" not in source:
        raise ValueError("model.source is not given; choose a model: model=NAME")
    kind = import_class(source.pop("_target_"), "model.source._target_")
    values["source"] = made = build(kind, source, key="model.source")
    if isinstance(made, Random):
        check_random(made.architecture, made.config)
    values["adapters"] = tuple(str(path) for path in as_list(adapter)) if adapter else ()
    return build(BackboneSpec, values, key="model")


def open_store(folder: str | None, gib: float) -> Store:
    """Open the store of a job's vectors: a folder (`auto`: the user's), or memory for None."""
    if folder is None:
        return MemoryStore(MEMORY_BYTES)
    path = find_embeddings_folder() if folder == "auto" else Path(folder)
    return open_cache(path, int(gib * 2**30))


def compose(
    overrides: list[str], *, verb: str = "evaluate", config_dir: str | None = None
) -> DictConfig:
    """Compose a verb's config with Hydra overrides, as the command line does."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    overrides = rename_overrides(overrides, verb=verb)
    if config_dir is not None:
        overrides = [*overrides, f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    if GlobalHydra.instance().is_initialized():  # by the verb that calls this
        return hydra_compose(verb, overrides=overrides)
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return hydra_compose(verb, overrides=overrides)


def _read_axis(axis: str, value: Any) -> list[Any]:
    """Return the values of an axis, one or several. Raises ValueError where there is none."""
    values = as_list(value)
    if not values or None in values:
        raise ValueError(
            f"{axis}={'null' if value is None else list(values)} names no value; leave {axis} out "
            f"to take the method's own"
        )
    return values


def _to_container(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportReturnType]


def as_list(value: Any) -> list[Any]:
    """Return what a config or a caller gave as a list: itself, or the one value in one."""
    if isinstance(value, ListConfig | list | tuple):
        return list(value)
    return [value]
