"""`dec2vec encode method=sgpt in=docs.parquet out=vectors`: files of texts to files of vectors."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from methods.cli.jobs import get_config_dir, record_status, run_verb
from methods.config.names import CONF
from methods.fields import build

log = logging.getLogger(__name__)
NO_EFFECT = ("mirror", "report")  # of conf/base.yaml


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """The keys of conf/encode.yaml that no other verb has; `input` is `in`."""

    input: str | list[str]
    out: str
    column: str = "text"
    id: str | None = None
    side: Literal["query", "document", "symmetric"] = "document"
    instruction: str | None = None
    bad_rows: Literal["error", "drop"] = "error"
    format: Literal["parquet", "npy"] = "parquet"
    shard_rows: int = 50_000
    worker: int = 0

    def __post_init__(self) -> None:
        if self.shard_rows < 1:
            raise ValueError(f"shard_rows is {self.shard_rows}; it is a number of rows, 1 or more")


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="encode")
def run(config: DictConfig) -> None:
    """Encode what is not encoded yet."""
    with record_status():
        job = build_job(config)
        manifest = job.run()
        vectors = manifest["vectors"]
        log.info(
            "%s: %d vectors of %d %s in %d shards",
            *(job.out.folder, manifest["rows"] - manifest["dropped"], vectors["size"]),
            *(vectors["type"], len(manifest["shards"])),
        )


def build_job(config: DictConfig) -> Any:
    """Return the job that a composed config describes. Raises ValueError on bad input."""
    from methods.backbone.loader import identify_backbone
    from methods.config.resolve import resolve_evaluation
    from methods.data.texts import TextFiles, find_text_files
    from methods.encoding.bulk import BulkJob
    from methods.encoding.shards import ShardFolder
    from methods.identity import digest_class
    from methods.records import check_writable

    settings = _read_settings(config)
    hydra_config = HydraConfig.get()
    name, folder = hydra_config.runtime.choices["method"], get_config_dir(hydra_config)
    overrides = list(hydra_config.overrides.task)
    resolved = resolve_evaluation(
        config, name=name, overrides=overrides, config_dir=folder, verb="encode"
    )
    if len(resolved.cells) > 1 or resolved.all_layers or len(resolved.posts) > 1:
        raise ValueError(
            "pooling, layer, normalize and post take one value each, since an output has one kind "
            "of vector; encode into a folder for each. Steps of post are joined by +"
        )
    _check_instruction(settings, resolved.cells[0])
    texts = TextFiles(find_text_files(settings.input), settings.column, settings.id)
    texts.tables  # noqa: B018  (headers are checked before anything is loaded)
    out = ShardFolder(Path(settings.out).expanduser(), settings.format)
    check_writable(out.folder, key="out")
    side: Any = None if settings.side == "symmetric" else settings.side
    cell, identity = _resolve_layer(resolved), identify_backbone(resolved.spec)
    encoding = {
        **_describe_encoder(resolved, cell, identity),
        "side": settings.side,
        "instruction": settings.instruction,
        "code": digest_class(type(cell)),
    }
    keys = ("column", "id", "bad_rows", "format", "shard_rows")
    about = {"encoder": encoding, **{key: getattr(settings, key) for key in keys}}
    return BulkJob(
        texts,
        out,
        about,
        lambda: _load_encoder(config, resolved),
        side=side,
        instruction=settings.instruction,
        shard_rows=settings.shard_rows,
        bad_rows=settings.bad_rows,
        made_with=_describe_making(overrides, folder),
    )


def _read_settings(config: DictConfig) -> EncodeSettings:
    """Return the verb's own settings, checked before anything is loaded."""
    from methods.config.settings import check_config

    check_config(config, verb="encode")
    for key in NO_EFFECT:
        if config[key] is not None:
            raise ValueError(f"{key}={config[key]} has no effect on dec2vec encode; leave it out")
    values: Any = OmegaConf.to_container(config, resolve=True)
    own = {key: values[key] for key in EncodeSettings.__dataclass_fields__ if key != "input"}
    try:
        return build(EncodeSettings, {**own, "input": values["in"]})
    except ValueError as error:
        raise ValueError(str(error).replace("input", "in", 1)) from None


def _check_instruction(settings: EncodeSettings, method: Any) -> None:
    """Raise ValueError where an instruction is needed and not given, or has no effect."""
    asks = method.uses_instructions and settings.side != "document"
    if asks and not settings.instruction:
        raise ValueError(
            f"{type(method).__name__} encodes a {settings.side} text with an instruction; give "
            f"instruction='...', or side=document"
        )
    if settings.instruction is not None and not asks:
        raise ValueError(
            f"{type(method).__name__} uses no instruction for side={settings.side}; leave "
            f"instruction out"
        )


def _resolve_layer(resolved: Any) -> Any:
    from methods.backbone.layers import resolve_layer
    from methods.backbone.loader import load_config

    (cell,) = resolved.cells
    number = load_config(resolved.spec)[1].get_text_config().num_hidden_layers
    return replace(cell, layer=resolve_layer(cell.layer, number))


def _describe_encoder(resolved: Any, cell: Any, identity: dict[str, Any]) -> dict[str, Any]:
    """Return what decides the vectors, as the manifest states it."""
    from methods.encoding.mteb_interface import describe_method, describe_variant

    variant = describe_variant(
        cell,
        method=resolved.name,
        identity=identity,
        instructions=resolved.instructions,
        adapters=resolved.spec.adapters,
        post=resolved.posts[0],
    )
    return {
        "model": identity,
        "method": resolved.name,
        "method_config": describe_method(cell),
        "post": resolved.posts[0].identify(),
        "digest": variant.experiment["digest"],
    }


def _describe_making(overrides: list[str], config_dir: str | None) -> dict[str, Any]:
    """Return what the manifest states beside: nothing that differs between workers or runs."""
    from methods.identity import digest_engine
    from methods.provenance import describe_environment, format_command

    given = [word for word in overrides if not word.lstrip("+").startswith("worker=")]
    command = format_command("encode", given, config_dir)
    return {"command": command, "engine": digest_engine(), **describe_environment()}


def _load_encoder(config: DictConfig, resolved: Any) -> Any:
    from methods.config.encoders import build_encoder
    from methods.config.resolve import open_store

    cache = config.cache
    store = None if cache.folder is None else open_store(cache.folder, cache.gib)
    return build_encoder(resolved, store)


def main() -> None:
    """Run the verb."""
    logging.captureWarnings(True)
    run_verb("encode", run)
