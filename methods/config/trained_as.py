"""Find how an adapter or a model was trained, so that it is evaluated in the same way.

`dec2vec train` writes the method and all its fields into training.json, beside an adapter or a
whole model. They are then the defaults: a field that no override sets has the value of training,
and an adapter's method may be left out. What an override changes is logged and recorded
(`trained_as`).

adapters: folders, in order; the last one counts. Where there is none, the folder of the model
(`list_trained_folders`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from methods.folders import CONF
from methods.records import read_json

if TYPE_CHECKING:  # the command line asks for a method's name before torch is needed
    from methods.base import Method

log = logging.getLogger(__name__)


def list_trained_folders(adapters: Iterable[str], model: str | None) -> list[str]:
    """Return the folders that may say how they were trained: the adapters, else the model's."""
    return list(adapters) or ([model] if model else [])


def read_training(adapters: Sequence[str]) -> dict[str, Any]:
    """Return the training record of the last adapter; empty for one made elsewhere."""
    file = Path(adapters[-1]).expanduser() / "training.json" if adapters else None
    found = read_json(file) if file is not None and file.is_file() else {}
    method = found.get("method")  # a file of that name may be another program's
    return found if isinstance(method, dict) and "class" in method else {}


def find_method_name(adapters: Sequence[str], *, config_dir: str | None = None) -> str | None:
    """Return the name in conf/method of what the last adapter was trained with, if it is recorded.

    Raises ValueError where its training names a class that no YAML has.
    """
    training = read_training(adapters)
    if not training:
        return None
    if training.get("name"):
        return training["name"]
    trained = training["method"]["class"]  # written before the name was, or trained from Python
    folders = [CONF, *([Path(config_dir)] if config_dir else [])]
    for file in (f for folder in folders for f in sorted((folder / "method").glob("*.yaml"))):
        if OmegaConf.select(OmegaConf.load(file), "_target_") == trained:
            return file.stem
    raise ValueError(
        f"{adapters[-1]} was trained with {trained}, which no conf/method/*.yaml names; give "
        f"method=NAME, and --config-dir for a method of your own"
    )


def list_trained_fields(
    method: type[Method], adapters: Sequence[str], *, overridden: Collection[str]
) -> dict[str, Any]:
    """Return the fields that the last adapter was trained with, except for overridden ones.

    Empty for an adapter made elsewhere, and for one of another method.
    """
    trained = read_training(adapters).get("method", {})
    if trained.get("class") != f"{method.__module__}.{method.__qualname__}":
        return {}
    known = {field.name for field in fields(method)}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in trained.items()
        if name in known and name not in overridden
    }


def find_differences(cell: Method, adapters: Sequence[str]) -> dict[str, Any]:
    """Return where a method is not what the last adapter was trained with: field -> [trained,
    evaluated]. Normalisation does not count, since it changes neither inputs nor pooling."""
    trained: Mapping[str, Any] = read_training(adapters).get("method", {})
    if not trained:
        return {}
    own = f"{type(cell).__module__}.{type(cell).__qualname__}"
    if trained["class"] != own:
        return {"class": [trained["class"], own]}
    plain = {f.name: getattr(cell, f.name) for f in fields(cell)}
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in plain.items()}
    ignored = ("normalize", "unnormalized", "queries_only")
    return {
        name: [trained[name], value]
        for name, value in plain.items()
        if name in trained and name not in ignored and trained[name] != value
    }
