"""Set load_encoder's keywords as fields of a method or a model, one value for each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

import numpy as np
import torch
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from methods.backbone.loader import BackboneSpec
from methods.config.plugins import import_class
from methods.fields import nearest

PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}
OTHERS = ("model", "adapter", "cache", "config_dir", "instructions", "post", "fit_on")  # no fields


def set_fields(config: DictConfig, given: Mapping[str, Any], *, method: str) -> None:
    """Set each keyword where it belongs: a field of the method, else of the model.

    method: its name, for messages. Raises ValueError for a keyword that is neither, naming the
    nearest, and for a value of another kind than the field's.
    """
    hints = get_field_types(config)
    valid = [*hints["method"], *(name for name in hints["model"] if name != "adapters")]
    for key, value in given.items():
        if key == "adapters":
            raise ValueError("adapters is no keyword; give adapter=DIR, or adapter=[DIR, DIR]")
        section = next((section for section, types in hints.items() if key in types), None)
        if section is None:
            raise ValueError(
                f"{key} is no field of method {method} ({', '.join(sorted(hints['method']))}) nor "
                f"of a model ({', '.join(sorted(set(valid) - set(hints['method'])))})"
                f"{nearest(key, [*valid, *OTHERS])}"
            )
        try:
            with open_dict(config):
                config[section][key] = _check_keyword(key, value, hints[section][key])
        except OmegaConfBaseException as error:
            raise ValueError(f"{key}={value!r} is no config value: {error}") from error


def get_field_types(config: DictConfig) -> dict[str, dict[str, Any]]:
    """Return the types of the fields that a composed config's method and model have."""
    owners = {
        "method": import_class(config.method._target_, "method._target_"),
        "model": BackboneSpec,
    }
    found = {}
    for section, owner in owners.items():
        hints = get_type_hints(owner)
        found[section] = {field.name: hints[field.name] for field in fields(owner)}  # pyright: ignore
    return found


def check_adapter(adapter: Any) -> Any:
    """Return adapter= as a config holds it. Raises ValueError for what is no folder or list."""
    if adapter is None:
        return None
    several = isinstance(adapter, list | tuple)
    folders = list(adapter) if several else [adapter]
    if not all(isinstance(folder, str | os.PathLike) and str(folder) for folder in folders):
        raise ValueError(
            f"adapter={adapter!r} is no adapter; it takes a PEFT folder, or a list of them in the "
            f"order they are merged, or None"
        )
    names = [os.fspath(folder) for folder in folders]
    return names if several else names[0]


def check_post(post: Any) -> str | None:
    """Return post= as a config holds it. Raises ValueError for several."""
    if post is None or isinstance(post, str):
        return post
    raise ValueError(
        f"post={post!r}, but an encoder has one post; it takes a text, its steps joined by +: "
        f"post='dims:256+int8'. Compare several with dec2vec evaluate post=[...]"
    )


def _check_keyword(key: str, value: Any, hint: Any) -> Any:
    """Return a value as a config holds it. Raises ValueError for several, or of another kind."""
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, torch.dtype | torch.device | os.PathLike):
        value = str(value).removeprefix("torch.")
    several = isinstance(value, list | tuple | set | frozenset | range | dict | np.ndarray)
    if value == "all" and key == "layer" or several and not _takes_several(hint):
        raise ValueError(
            f"{key}={value!r}, but an encoder has one {key}; call load_encoder once for each value "
            f"(the model is shared), or compare them with dec2vec evaluate {key}=[...]"
        )
    kinds = (int, float) if hint is float else hint
    is_kind = hint not in PLAIN or isinstance(value, kinds)
    if not is_kind or (hint in (int, float) and isinstance(value, bool)):
        raise ValueError(f"{key}={value!r}; it takes {PLAIN[hint]}")
    return value


def _takes_several(hint: Any) -> bool:
    names = str(hint)
    return any(word in names for word in ("tuple", "list", "Sequence", "Mapping", "dict", "Source"))
