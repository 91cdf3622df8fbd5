"""Compose the encoder that load_encoder returns, from names in conf/ and keywords."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from methods.backbone.loader import load_backbone
from methods.backbone.locks import LOADING
from methods.config.keywords import check_adapter, check_post, set_fields
from methods.config.names import list_choices, quote_value
from methods.config.plugins import check_imported_from, make_importable
from methods.config.resolve import (
    EvaluationSpec,
    as_list,
    compose,
    open_store,
    resolve_evaluation,
)
from methods.config.trained_as import find_method_name
from methods.encoding.embedder import Embedder
from methods.encoding.encoder import Encoder
from methods.encoding.mteb_interface import describe_variant
from methods.encoding.store import Store
from methods.fields import nearest


def compose_encoder(
    method: str | None,
    *,
    model: str | os.PathLike[str] | None,
    adapter: Any = None,
    overrides: Mapping[str, Any],
    cache: str | os.PathLike[str] | None = "auto",
    config_dir: str | os.PathLike[str] | None = None,
    instructions: str = "mteb",
    post: str | None = None,
    fit_on: str | None = None,
) -> Encoder:
    """Build the encoder that `methods.load_encoder` returns; see there.

    model: None for the method's own default.
    """
    folder = None if config_dir is None else str(make_importable(config_dir))
    if method is None:
        method = find_method_name([str(path) for path in as_list(adapter)] if adapter else [])
    if method is None:
        raise ValueError(
            "give a method, or an adapter that dec2vec train made, which names its own"
        )
    _check_name("method", method, folder)
    _check_name("instructions", instructions, folder)
    chosen = [f"method={method}", f"instructions={instructions}"]
    if model is not None:
        known = str(model) in list_choices("model", config_dir=folder)
        chosen += [f"model={model}"] if known else choose_model(str(model))
    with LOADING:  # Hydra and a model's load set what holds for the whole process
        config = compose(chosen, config_dir=folder)
        if folder is not None:
            check_imported_from(Path(folder), config.method._target_)
        set_fields(config, overrides, method=method)
        config.adapter = check_adapter(adapter)
        config.post, config.fit_on = check_post(post), fit_on or config.fit_on
        words = [f"method.{key}=" for key in overrides]
        words += ["instructions="] if instructions != "mteb" else []
        resolved = resolve_evaluation(config, name=method, overrides=words, config_dir=folder)
        return build_encoder(resolved, _open_encoder_store(cache, config.cache.gib))


def build_encoder(resolved: EvaluationSpec, store: Store | None) -> Encoder:
    """Load what a resolved config of one cell names, as an encoder.

    store: where vectors are cached; None for nowhere.
    """
    backbone = load_backbone(resolved.spec)
    shared = Embedder(backbone, resolved.cells, store)
    variant = describe_variant(
        shared.cells[0],
        method=resolved.name,
        identity=backbone.identity,
        instructions=resolved.instructions,
        adapters=resolved.spec.adapters,
        post=resolved.posts[0],
    )
    return Encoder(
        backbone,
        resolved.cells[0],
        instructions=resolved.instructions,
        variant=variant,
        shared=shared,
        post=resolved.posts[0],
    )


def _check_name(group: str, name: Any, config_dir: str | None) -> None:
    valid = list_choices(group, config_dir=config_dir)
    if name not in valid:
        raise ValueError(
            f"{group} {name!r} is unknown; valid: {', '.join(valid)}; one of your own with "
            f"config_dir=DIR, which holds {group}/NAME.yaml{nearest(str(name), valid)}"
        )


def _open_encoder_store(cache: Any, gib: float) -> Store | None:
    """Open the store that keeps an encoder's vectors between calls, None for none."""
    if cache is None:
        return None
    if not isinstance(cache, str | os.PathLike) or not str(cache):
        raise ValueError(
            f"cache={cache!r} is unknown; valid: 'auto' (the folder that dec2vec evaluate uses), "
            f"a folder on a local disk, or None to store no vectors"
        )
    return open_store(str(cache), gib)


def choose_model(model: str) -> list[str]:
    """Return the overrides that choose a model by its name in conf/, folder, file or Hub id."""
    if model in list_choices("model"):
        return [f"model={model}"]
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        return ["model=gguf", f"model.source.path={quote_value(str(path))}"]
    if path.is_dir():
        return ["model=folder", f"model.source.path={quote_value(str(path))}"]
    if model.count("/") == 1:
        return ["model=hub", f"model.source.id={quote_value(model)}"]
    raise ValueError(
        f"model {model!r} is unknown; valid: {', '.join(list_choices('model'))}, a folder, a .gguf "
        f"file, or a Hub id (org/name){nearest(model, list_choices('model'))}"
    )
