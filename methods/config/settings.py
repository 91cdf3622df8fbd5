"""Check the settings beside method and model, before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from omegaconf import DictConfig, ListConfig, OmegaConf

from methods.backbone.hardware import AttentionKernel
from methods.backbone.linears import Linears
from methods.config.names import ESTIMATE, OPTIONAL, list_choices, list_groups, list_root_keys
from methods.config.own_tasks import OwnClass, OwnTask, build_own_tasks
from methods.fields import build, check_value, nearest


@dataclass(frozen=True, kw_only=True)
class KernelSettings:
    """How the model is run: `kernel` of a config, which BackboneSpec takes over."""

    attention: AttentionKernel = "auto"
    packed: bool | Literal["auto"] = "auto"
    linears: Linears = "auto"


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """Where vectors are stored: `auto`, a folder or None for memory, and how many GiB of them."""

    folder: str | None = "auto"
    gib: float = 20

    def __post_init__(self) -> None:
        if not 0 < self.gib < math.inf:
            raise ValueError(
                f"cache.gib is {self.gib}; it is above 0 and finite. To store no vectors use "
                f"cache.folder=null"
            )
        if self.folder == "":
            raise ValueError("cache.folder is empty; give cache.folder=DIR, auto or null")


@dataclass(frozen=True, kw_only=True)
class TaskList:
    """What a tasks YAML says.

    names: task names. benchmark: an mteb benchmark, when there are no names.
    splits, subsets: task name -> those to evaluate, where not the task's own.
    mirror: a folder to read datasets from instead of the Hub: `mirror` at a config's root.
    own: tasks on the user's own data, evaluated beside the named ones.
    """

    names: Sequence[str] = ()
    benchmark: str | None = None
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subsets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    mirror: str | None = None
    own: Sequence[OwnTask | OwnClass] = ()

    def __repr__(self) -> str:
        """Return the fields; `own` where there is one: digests of trainings are made of this."""
        named = [field.name for field in fields(self) if field.name != "own" or self.own]
        return f"TaskList({', '.join(f'{name}={getattr(self, name)!r}' for name in named)})"

    def __post_init__(self) -> None:
        for option in ("splits", "subsets"):
            for name, chosen in getattr(self, option).items():
                if not chosen:
                    raise ValueError(f"tasks.{option} names none of {name}; leave {name} out")
        if self.mirror == "":
            raise ValueError("mirror is empty; give mirror=DIR, the folder of datasets, or null")


ROOT_TYPES = {
    "runs": str,
    "out": str | None,
    "mirror": str | None,
    "report": str | None,
    "docs": str | None,
    "adapter": str | list[str] | None,
    "estimate": bool,
    "price_per_hour": float | None,
    "post": str | list[str | None] | None,
    "fit_on": str | None,
}
EXPORT_TYPES = {
    "format": Literal["sentence_transformers", "adapter"],
    "modules": Literal["auto", "stock", "custom"],
    "instruction": str | None,
    "task": str | list[str] | None,
    "records": str | list[str] | None,
    "base_model": str | None,
}


def check_config(config: DictConfig, *, verb: str = "evaluate") -> None:
    """Check the keys and types of everything but method, model, recipe, data and instructions.

    Raises ValueError for a key that the verb does not know, for one that has no value yet (`???`),
    and for a value of another type.
    """
    valid = list_root_keys(verb)
    for key in config:
        if key not in valid:
            raise ValueError(
                f"{key} is no key of dec2vec {verb}; valid: {', '.join(valid)}{nearest(key, valid)}"
            )
    groups_of = list_groups(verb)
    for key in valid:
        missing = OmegaConf.is_missing(config, key)  # it has no value yet, see below
        if key not in config and key not in groups_of and not missing:
            raise ValueError(f"{key} was taken out; leave ~{key} out, or give {key}=VALUE")
    for key in groups_of:
        if key in (*OPTIONAL, "recipe") or isinstance(config.get(key), DictConfig):
            continue
        raise ValueError(f"no {key} is chosen; give {key}=NAME: {', '.join(list_choices(key))}")
    for key in _find_missing("", OmegaConf.to_container(config, resolve=False)):
        raise ValueError(f"{key} has no value yet; give {key}={key.rpartition('.')[2].upper()}")
    types = {**ROOT_TYPES, **(EXPORT_TYPES if verb == "export" else {})}
    for key, hint in types.items():
        if key in config:
            value = config[key]
            check_value(key, list(value) if isinstance(value, ListConfig) else value, hint)
            if value == "":
                raise ValueError(f"{key} is empty; give {key}=VALUE")
    if (price := config.get("price_per_hour")) is not None:
        if not 0 < price < math.inf:
            raise ValueError(f"price_per_hour is {price}; it is above 0 and finite")
        if not config.get("estimate"):
            raise ValueError(
                f"price_per_hour={price} is for an estimate; add estimate=true, or leave "
                f"price_per_hour out"
            )
    for key, settings in (("kernel", KernelSettings), ("cache", CacheSettings)):
        if key in config:
            given = get_section(config, key)
            build(settings, given, key=key)
            for lost in [f.name for f in fields(settings) if f.name not in given]:
                raise ValueError(f"{key}.{lost} was taken out; leave ~{key}.{lost} out")
    if "tasks" in config:
        build_task_list(get_section(config, "tasks"), key="tasks")


def drop_estimate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config's values without those that ask for an estimate."""
    return {key: value for key, value in values.items() if key not in ESTIMATE}


def get_section(config: DictConfig, key: str) -> dict[str, Any]:
    """Return a section of a config as plain values. Raises ValueError if it is no section."""
    if not isinstance(config[key], DictConfig):
        known = {"kernel": KernelSettings, "cache": CacheSettings, "tasks": TaskList}
        names = [f"{key}.{field.name}" for field in fields(known[key])] if key in known else []
        raise ValueError(
            f"{key}={config[key]} is one value for a whole section"
            f"{'; its keys are ' + ', '.join(names) if names else ''}"
        )
    return OmegaConf.to_container(config[key], resolve=True)  # pyright: ignore[reportReturnType]


def build_task_list(values: Mapping[str, Any], *, key: str, mirror: str | None = None) -> TaskList:
    """Return the tasks a section names, its names and types checked; null is as if not given.

    mirror: the root's, where the section has none of its own. Raises ValueError for two.
    """
    own = values.get("mirror")
    if mirror is not None and own not in (None, mirror):
        raise ValueError(f"mirror={mirror} and {key}.mirror={own} are both given; give mirror=DIR")
    values = {**values, "mirror": mirror if own is None else own}
    if values.get("own") is not None:
        values["own"] = build_own_tasks(values["own"], key=f"{key}.own")
    wanted = build(TaskList, {k: v for k, v in values.items() if v is not None}, key=key)
    if wanted.names and wanted.benchmark:
        raise ValueError(
            f"{key}.names={_shorten(wanted.names)} and {key}.benchmark={wanted.benchmark} are both "
            f"given; to evaluate the benchmark add {key}.names=[], else {key}.benchmark=null"
        )
    return wanted


def _shorten(names: Any) -> str:
    return f"[{','.join(names[:3])}{',...' if len(names) > 3 else ''}]"


def _find_missing(key: str, value: Any) -> Iterator[str]:
    """Yield the keys of a config whose value is still to be given (`???`)."""
    if value == "???":
        yield key
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _find_missing(f"{key}.{name}" if key else str(name), inner)
