"""`dec2vec export method=... model=... out=DIR`: a folder that other programs load."""

import logging
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from methods.cli.jobs import get_config_dir, record_status, run_verb
from methods.config.names import CONF
from methods.provenance import format_command

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="export")
def run(config: DictConfig) -> None:
    """Run one export."""
    with record_status():
        about = HydraConfig.get()
        given = {
            "name": about.runtime.choices["method"],
            "overrides": list(about.overrides.task),
            "config_dir": get_config_dir(about),
        }
        if config.format == "adapter":
            _write_adapter(config, given)
        else:
            _write_folder(config, given)


def _write_folder(config: DictConfig, given: dict[str, Any]) -> None:
    from methods.interop.export import run_export

    job = build_export(config, **given)
    written = run_export(job)
    if written is None:
        return
    same = f"{written.equality.same_ids} of {written.equality.texts} texts have the same ids"
    smallest = written.equality.smallest_cosine
    log.info("%s modules; %s, smallest cosine %.7f", written.kind, same, smallest)
    if written.reason:
        log.info("no stock modules: %s", written.reason)
    trust = ", trust_remote_code=True" if written.kind == "custom" else ""
    log.info('exported: %s; load it as SentenceTransformer("%s"%s)', job.out, job.out, trust)


def _write_adapter(config: DictConfig, given: dict[str, Any]) -> None:
    from methods.interop.adapter_folder import run_adapter_export

    job = build_adapter_export(config, **given)
    cosine = run_adapter_export(job)
    if cosine is not None:
        log.info("PEFT's states agree with the merged model's: smallest cosine %.7f", cosine)
        log.info("exported: %s; its README says how PEFT loads it", job.out)


def build_export(
    config: DictConfig, *, name: str, overrides: list[str], config_dir: str | None = None
) -> Any:
    """Return the export that a composed config describes. Raises ValueError for bad input."""
    from methods.config.resolve import as_list, resolve_evaluation
    from methods.interop.export import Export
    from methods.interop.prompts import list_prompts

    resolved = resolve_evaluation(
        config, name=name, overrides=overrides, config_dir=config_dir, verb="export"
    )
    if config.base_model is not None:
        raise ValueError("base_model is for format=adapter; leave it out")
    if len(resolved.cells) > 1 or resolved.all_layers:
        raise ValueError(
            "an exported folder has one pooling, layer and normalize; give one value for each, or "
            "sweep with -m and an out=DIR for each"
        )
    method = resolved.cells[0]
    prompts = list_prompts(
        method,
        instruction=config.instruction,
        tasks=as_list(config.task) if config.task else [],
        instructions=resolved.instructions,
    )
    return Export(
        name=name,
        method=method,
        spec=resolved.spec,
        prompts=prompts,
        instructions=resolved.instructions,
        out=Path(config.out).expanduser(),
        modules=config.modules,
        records=[str(one) for one in as_list(config.records)] if config.records else [],
        command=format_command("export", overrides, config_dir),
    )


def build_adapter_export(
    config: DictConfig, *, name: str, overrides: list[str], config_dir: str | None = None
) -> Any:
    """Return the export of an adapter alone. Raises ValueError for bad input."""
    from methods.config.resolve import resolve_evaluation
    from methods.interop.adapter_folder import AdapterExport

    resolved = resolve_evaluation(
        config, name=name, overrides=overrides, config_dir=config_dir, verb="export"
    )
    for key in ("instruction", "task", "records"):
        if config[key]:
            raise ValueError(f"{key} has no effect on format=adapter; leave {key} out")
    return AdapterExport(
        spec=resolved.spec,
        out=Path(config.out).expanduser(),
        base_model=config.base_model,
        command=format_command("export", overrides, config_dir),
    )


def main() -> None:
    """Run the verb."""
    logging.captureWarnings(True)
    run_verb("export", run)
