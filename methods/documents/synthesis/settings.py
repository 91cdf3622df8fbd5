"""The settings of a synthesis: conf/synthesize.yaml, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from methods.documents.synthesis.e5_prompts import GROUPS
from methods.documents.synthesis.questions import PROMPTS
from methods.fields import nearest

OF_DOCUMENTS = ("title", "cloze", "question")


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """The section `generator` of conf/synthesize.yaml."""

    model: str | None = None
    name: str | None = None
    key_env: str = "OPENAI_API_KEY"
    max_new_tokens: int | None = None
    temperature: float | None = None
    dtype: str = "auto"
    batch_tokens: int = 8192
    group: int = 16
    timeout: float = 120
    retries: int = 4
    concurrency: int = 4

    def __post_init__(self) -> None:
        for key in ("max_new_tokens", "batch_tokens", "group", "timeout", "concurrency"):
            if (value := getattr(self, key)) is not None and value <= 0:
                raise ValueError(f"generator.{key} is {value}; it is above 0")
        if self.retries < 0:
            raise ValueError(f"generator.retries is {self.retries}; it is 0 or more")
        if self.is_endpoint and not self.name:
            raise ValueError(
                f"generator.model={self.model} is an endpoint; give its model's name: "
                f"generator.name=NAME ({str(self.model).rstrip('/')}/models lists them)"
            )
        if self.name and not self.is_endpoint:
            raise ValueError(
                f"generator.name={self.name} is the model of an endpoint, and generator.model="
                f"{self.model} is none; give generator.model=http://HOST:PORT/v1"
            )

    @property
    def is_endpoint(self) -> bool:
        """Whether the model is behind a URL."""
        return str(self.model).startswith(("http://", "https://"))


@dataclass(frozen=True, kw_only=True)
class SynthesisSettings:
    """The keys of conf/synthesize.yaml that no other verb has; `input` is `in`."""

    input: str | None
    out: str
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    include: str | None = None
    max_tokens: int = 200
    kinds: Sequence[str] | None = None
    passages: int | None = None
    prompts: Sequence[str] = ()
    number: int = 10
    task_lists: int = 2
    languages: Sequence[str] | None = None
    top_k: int = 3
    negatives: int = 1
    margin: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("passages", "number", "task_lists"):
            if (value := getattr(self, key)) is not None and value < 1:
                raise ValueError(f"{key} is {value}; it is a number of them, 1 or more")
        for key in ("top_k", "negatives", "margin"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} is {getattr(self, key)}; it is 0 or more")
        if self.input is None and self.generator.model is None:
            raise ValueError(
                "there is nothing to make pairs from; give documents, in=DIR, or a language model "
                "that makes them up: generator.model=NAME"
            )


def choose_kinds(settings: SynthesisSettings) -> list[str]:
    """Return the kinds of pairs to make. Raises ValueError for one that cannot be made."""
    for key, valid in (("kinds", [*OF_DOCUMENTS, *GROUPS]), ("prompts", list(PROMPTS))):
        for one in getattr(settings, key) or ():
            if one not in valid:
                raise ValueError(
                    f"{key}: {one!r} is unknown; valid: {', '.join(valid)}{nearest(one, valid)}"
                )
    documents = settings.input is not None
    possible = list(OF_DOCUMENTS if documents else GROUPS)
    if settings.generator.model is None:
        possible.remove("question")
    for one in settings.kinds or ():
        if one not in possible:
            needed = "generator.model=NAME" if one == "question" and documents else "in=DIR"
            advice = f"it needs {needed}" if one in OF_DOCUMENTS else "it is made without in=DIR"
            raise ValueError(f"kinds: {one} cannot be made here; {advice}")
    kinds = list(settings.kinds or possible)
    if not kinds or ("question" in kinds and not settings.prompts):
        raise ValueError("kinds and prompts name at least one each; null: all kinds")
    if "bitext" in kinds and len(set(settings.languages or ("", " "))) < 2:
        raise ValueError(
            f"bitext needs two languages, and languages={list(settings.languages or ())}; give "
            f"another, or leave bitext out of kinds"
        )
    return kinds
