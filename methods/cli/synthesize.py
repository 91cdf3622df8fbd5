"""`dec2vec synthesize in=docs out=pairs`: pairs for training and evaluation, from documents or from
nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from methods.cli.jobs import get_config_dir, record_status, run_verb
from methods.config.names import CONF
from methods.fields import build

if TYPE_CHECKING:
    from methods.documents.synthesis.job import Synthesis
    from methods.documents.synthesis.settings import SynthesisSettings

log = logging.getLogger(__name__)
NO_EFFECT = ("mirror", "report")  # of conf/base.yaml
USUAL = {"max_new_tokens": 48, "temperature": 0.0}  # with documents
FROM_NOTHING = {"max_new_tokens": 640, "temperature": 1.0}


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="synthesize")
def run(config: DictConfig) -> None:
    """Make the pairs that are not made yet."""
    with record_status():
        job = build_job(config)
        record = job.run()
        made = ", ".join(f"{number} {kind}" for kind, number in record["pairs"].items())
        log.info("%s: pairs: %s; %.0f s", job.out, made or "none", record["seconds"])
        if record["pairs"]:
            kind = next(iter(record["pairs"]))
            log.info(
                "train on them: data=file data.sources.mine.path=%s; score: tasks.own=[%s]",
                *(job.out / "train" / f"{kind}.jsonl", job.out / "evaluate" / kind),
            )


def build_job(config: DictConfig) -> Synthesis:
    """Return the job that a composed config describes. Raises ValueError on bad input."""
    from methods.config.resolve import resolve_evaluation
    from methods.documents.synthesis.job import Choices, Synthesis
    from methods.documents.synthesis.load import load_generator
    from methods.documents.synthesis.retrieval import Sides
    from methods.documents.synthesis.settings import choose_kinds
    from methods.records import check_writable

    settings = read_settings(config)
    kinds = choose_kinds(settings)
    hydra_config = HydraConfig.get()
    name, folder = hydra_config.runtime.choices["method"], get_config_dir(hydra_config)
    overrides = list(hydra_config.overrides.task)
    resolved = resolve_evaluation(
        config, name=name, overrides=overrides, config_dir=folder, verb="synthesize"
    )
    if len(resolved.cells) > 1 or resolved.all_layers or len(resolved.posts) > 1:
        raise ValueError("pooling, layer, normalize and post take one value each: one encoder")
    out = Path(settings.out).expanduser()
    check_writable(out, key="out")
    load_encoder = cache(lambda: _load_encoder(config, resolved))
    passages, skipped = _read_passages(settings, lambda: load_encoder().backbone.tokenizer)
    make_generator = None
    if (given := settings.generator).model is not None:
        how: Any = USUAL if settings.input is not None else FROM_NOTHING
        how = {**how, "seed": settings.seed, "device": config.model.device}
        make_generator = partial(load_generator, given, **how)
    own = {key: getattr(settings, key) for key in Choices.__dataclass_fields__ if key != "kinds"}
    own["languages"] = tuple(settings.languages or ())
    return Synthesis(
        out=out,
        choices=Choices(**{**own, "kinds": kinds}),
        passages=passages,
        asked=settings.passages,
        make_generator=make_generator,
        make_sides=lambda: Sides(load_encoder()),
        about=_describe(settings, resolved, overrides, folder, skipped),
    )


def read_settings(config: DictConfig) -> SynthesisSettings:
    """Return the verb's own settings, checked before anything is loaded."""
    from methods.config.settings import check_config, get_section
    from methods.documents.synthesis.settings import GeneratorSettings, SynthesisSettings

    check_config(config, verb="synthesize")
    for key in NO_EFFECT:
        if config[key] is not None:
            raise ValueError(
                f"{key}={config[key]} has no effect on dec2vec synthesize; leave it out"
            )
    values: Any = OmegaConf.to_container(config, resolve=True)
    own = {k: values[k] for k in SynthesisSettings.__dataclass_fields__ if k != "input"}
    own["generator"] = build(GeneratorSettings, get_section(config, "generator"), key="generator")
    try:
        return build(SynthesisSettings, {**own, "input": values["in"]})
    except ValueError as error:
        raise ValueError(str(error).replace("input", "in", 1)) from None


def _read_passages(
    settings: SynthesisSettings, get_tokenizer: Callable[[], Any]
) -> tuple[list[Any], list[str]]:
    """Return the passages of the documents, and the files that were skipped, with why."""
    from methods.documents.reading import read_passages

    if settings.input is None:
        return [], []
    reading = read_passages(
        settings.input,
        max_tokens=settings.max_tokens,
        tokenizer=get_tokenizer(),
        include=settings.include,
    )
    for skipped in reading.skipped:
        log.warning("%s is skipped: %s", skipped.file, skipped.reason)
    files = len({passage.file for passage in reading.passages})
    if not reading.passages:
        raise ValueError(f"in={settings.input} holds no document that can be read")
    log.info("%s: %d passages of %d files", settings.input, len(reading.passages), files)
    return reading.passages, [f"{one.file}: {one.reason}" for one in reading.skipped]


def _load_encoder(config: DictConfig, resolved: Any) -> Any:
    from methods.config.encoders import build_encoder
    from methods.config.resolve import open_store

    return build_encoder(resolved, open_store(config.cache.folder, config.cache.gib))


def _describe(
    settings: SynthesisSettings,
    resolved: Any,
    overrides: list[str],
    config_dir: str | None,
    skipped: list[str],
) -> dict[str, Any]:
    """Return what the record states beside the pairs."""
    from datetime import UTC, datetime

    from methods.backbone.loader import identify_backbone
    from methods.encoding.mteb_interface import describe_method
    from methods.provenance import describe_environment, format_command, make_portable

    return {
        "command": format_command("synthesize", overrides, config_dir),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "in": make_portable(settings.input),
        "skipped": skipped,
        "encoder": {
            "method": resolved.name,
            "method_config": describe_method(resolved.cells[0]),
            "model": identify_backbone(resolved.spec),
        },
        **describe_environment(),
    }


def main() -> None:
    """Run the verb."""
    logging.captureWarnings(True)
    run_verb("synthesize", run)
