"""Load a generator by name: a model of conf/, a folder, a file, a Hub id, or an endpoint's URL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from methods.documents.synthesis.settings import GeneratorSettings

if TYPE_CHECKING:
    from methods.documents.synthesis.generators import Generator


def load_generator(
    settings: GeneratorSettings,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    device: str = "auto",
) -> Generator:
    """Load the generator that settings name; theirs win over max_new_tokens and temperature.

    A model that an encoder has loaded already, with the same dtype, is shared with it.
    """
    if settings.max_new_tokens is not None:
        max_new_tokens = settings.max_new_tokens
    if settings.temperature is not None:
        temperature = settings.temperature
    if settings.is_endpoint:
        from methods.documents.synthesis.endpoint import EndpointGenerator

        return EndpointGenerator(
            str(settings.model),
            str(settings.name),
            key_env=settings.key_env,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            timeout=settings.timeout,
            retries=settings.retries,
            concurrency=settings.concurrency,
        )
    from methods.backbone.loader import load_backbone
    from methods.config.encoders import choose_model
    from methods.config.resolve import build_backbone_spec, compose
    from methods.documents.synthesis.generators import LocalGenerator

    config = compose(["method=sgpt", *choose_model(str(settings.model))])
    config.model.dtype, config.model.device = settings.dtype, device
    spec = build_backbone_spec(config.model, kernel=config.kernel)
    backbone = load_backbone(replace(spec, batch_tokens=settings.batch_tokens))
    return LocalGenerator(
        backbone,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        group=settings.group,
    )
