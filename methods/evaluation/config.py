"""From names in conf/ to objects: the same for the command line and for Python."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import get_class
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from methods.backbone.cache import MemoryStore, Store, default_folder, open_cache
from methods.backbone.loader import BackboneSpec
from methods.base import Method
from methods.configs import CONF, choices
from methods.evaluation.instructions import Instructions
from methods.evaluation.settings import check_config
from methods.fields import build

if TYPE_CHECKING:
    from methods.evaluation.encoder import Encoder

__all__ = ["CONF", "choices"]  # from methods.configs

MEMORY_BYTES = 2 << 30
CELL_AXES = ("pooling", "layer", "normalize")
ROOT_AXES = ("attention", *CELL_AXES)


@dataclass(frozen=True)
class Plan:
    """A resolved job: which model, which cells (methods that share a pass), which instructions.

    all_layers: whether every layer is wanted, whose number only the model knows.
    """

    name: str
    spec: BackboneSpec
    cells: list[Method]
    instructions: Instructions
    all_layers: bool = False


def plan(config: DictConfig, *, name: str) -> Plan:
    """Everything a job needs to know before a model is loaded. Raises ValueError on bad input."""
    check_config(config)
    axes = {axis: _values_of(axis, config[axis]) for axis in ROOT_AXES if axis in config}
    if len(axes.get("attention", [])) > 1:
        raise ValueError(
            "attention takes one value in a job, since each needs a pass of its own; sweep it: "
            "dec2vec evaluate -m attention=causal,bidirectional"
        )
    all_layers = axes.get("layer") == ["all"]
    if all_layers:
        axes["layer"] = [-1]
    elif bad := [value for value in axes.get("layer", []) if isinstance(value, str)]:
        raise ValueError(
            f"layer {bad[0]!r} is unknown; it takes a whole number (0: the embeddings, -1: after "
            f"the final norm), a list of them, or all, alone"
        )
    method = method_of(config.method, **{axis: values[0] for axis, values in axes.items()})
    grid = itertools.product(*(axes.get(axis, [getattr(method, axis)]) for axis in CELL_AXES))
    cells = [replace(method, **dict(zip(CELL_AXES, values, strict=True))) for values in grid]
    spec = backbone_of(config.model, adapter=config.adapter)
    if method.new_tokens and not spec.adapters:
        raise ValueError(
            f"{name} with delimiters=new reads {', '.join(method.new_tokens)}, whose rows only an "
            f"adapter has: give adapter=PATH, or use method.delimiters=reuse"
        )
    instructions = build(Instructions, _plain(config.instructions), key="instructions")
    return Plan(name, spec, cells, instructions, all_layers)


def method_of(config: DictConfig, **axes: Any) -> Method:
    """The method a YAML names, with its fields checked."""
    if not isinstance(config, DictConfig) or "_target_" not in config:
        raise ValueError("no method is chosen; give method=NAME (dec2vec methods lists them)")
    values = _plain(config)
    target = _class_of(values.pop("_target_"), "method")
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    return build(target, {**values, **axes}, key="method")


def backbone_of(config: DictConfig, *, adapter: Any = None) -> BackboneSpec:
    """The model a YAML names, with its fields checked."""
    values = _plain(config)
    if values.pop("adapters", None):
        raise ValueError("model.adapters is no key; give adapter=DIR, or adapter=[DIR,DIR]")
    source = dict(values.pop("source", None) or {})
    if "_target_" not in source:
        raise ValueError("model.source is not given; choose a model: model=NAME")
    kind = _class_of(source.pop("_target_"), "model.source")
    values["source"] = build(kind, source, key="model.source")
    values["adapters"] = tuple(str(path) for path in _listed(adapter)) if adapter else ()
    return build(BackboneSpec, values, key="model")


def store_of(folder: str | None, gib: float) -> Store:
    """Where a job keeps vectors: a folder (`auto`: the user's), or memory if there is none."""
    if folder is None:
        return MemoryStore(MEMORY_BYTES)
    path = default_folder() if folder == "auto" else Path(folder)
    return open_cache(path, int(gib * 2**30))


def compose(
    overrides: list[str], *, verb: str = "evaluate", config_dir: str | None = None
) -> DictConfig:
    """A verb's config with Hydra overrides, as the command line composes it."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    if config_dir is not None:
        overrides = [*overrides, f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return hydra_compose(verb, overrides=overrides)


def compose_encoder(
    method: str, *, model: str, adapter: Any, overrides: Mapping[str, Any]
) -> Encoder:
    """What `methods.load_encoder` does; see there."""
    from methods.backbone.loader import load_backbone
    from methods.evaluation.encoder import Encoder

    overrides = dict(overrides)
    config_dir = overrides.pop("config_dir", None)
    config = compose([f"method={method}", *_model_choice(model)], config_dir=config_dir)
    method_fields = {field.name for field in fields(get_class(config.method._target_))}
    model_fields = {field.name for field in fields(BackboneSpec)} - {"adapters", "source"}
    with open_dict(config):
        config.adapter = adapter
        for key, value in overrides.items():
            if key == "adapters":
                raise ValueError("adapters is no keyword; give adapter=DIR, or adapter=[DIR, DIR]")
            if key in method_fields:
                config.method[key] = value
            elif key in model_fields:
                config.model[key] = value
            else:
                raise ValueError(
                    f"{key} is no field of method {method} ({', '.join(sorted(method_fields))}) "
                    f"nor of a model ({', '.join(sorted(model_fields))})"
                )
    resolved = plan(config, name=method)
    return Encoder(
        load_backbone(resolved.spec), resolved.cells[0], instructions=resolved.instructions
    )


def _model_choice(model: str) -> list[str]:
    if model in choices("model"):
        return [f"model={model}"]
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        return ["model=gguf", f"model.source.path='{path}'"]
    if path.is_dir():
        return ["model=folder", f"model.source.path='{path}'"]
    if model.count("/") == 1:
        return ["model=hub", f"model.source.id='{model}'"]
    raise ValueError(
        f"model {model!r} is unknown; valid: {', '.join(choices('model'))}, a folder, a .gguf "
        f"file, or a Hub id (org/name)"
    )


def _class_of(target: Any, key: str) -> Any:
    """The class a `_target_` names. Raises ValueError, naming it, where it cannot be imported."""
    try:
        return get_class(target)
    except (ImportError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{key}._target_={target} cannot be imported: {error}. A module of your own is found "
            f"beside the method/ folder that --config-dir names"
        ) from error


def _values_of(axis: str, value: Any) -> list[Any]:
    """The values of an axis, one or several. Raises ValueError where there is none."""
    values = _listed(value)
    if not values or None in values:
        raise ValueError(
            f"{axis}={'null' if value is None else list(values)} names no value; leave {axis} out "
            f"to take the method's own"
        )
    return values


def _plain(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportReturnType]


def _listed(value: Any) -> list[Any]:
    if isinstance(value, ListConfig | list | tuple):
        return list(value)
    return [value]
