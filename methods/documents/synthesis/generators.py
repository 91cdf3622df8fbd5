"""What answers prompts: the interface, and the model loaded here.

A generator is given all prompts of a step and the ids that are answered already. It yields answers
as they come; whoever calls it stores each list before it asks for the next.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from methods.documents.synthesis.pairs import make_seed

if TYPE_CHECKING:
    from methods.backbone.loader import Backbone


@dataclass(frozen=True)
class Prompt:
    """What is asked. text: the user's turn. opening: what the answer begins with.

    cue: what ends the user's turn instead where an answer cannot be begun, behind an endpoint; a
    word of it is the opening, which the model may repeat or not.
    """

    id: str
    text: str
    opening: str = ""
    cue: str = ""


@dataclass(frozen=True)
class Answer:
    """What was written. text: the opening included. seconds: of a batch, its share.

    error: why there is none; such a prompt is asked again by the next run.
    """

    id: str
    text: str
    prompt_tokens: int = 0
    tokens: int = 0
    seconds: float = 0.0
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields, without those that are not needed."""
        return {k: v for k, v in asdict(self).items() if k != "error" or v is not None}


class Generator(Protocol):
    """Answers prompts."""

    def write(self, prompts: Sequence[Prompt], done: Container[str] = ()) -> Iterator[list[Answer]]:
        """Yield the answers of prompts whose id is not done, some at a time."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what decides the answers, as the manifest states it."""
        ...

    def describe_run(self) -> dict[str, Any]:
        """Return how they were made, which decides none: device, retries ..."""
        ...


class LocalGenerator:
    """A model loaded here, under causal attention, in batches.

    The prompts are cut into groups by their order alone, and a group is answered as a whole with a
    seed made of its ids: a run that was stopped writes what an undisturbed one would have written.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        group: int = 16,
    ) -> None:
        backbone.require_attention("causal")
        self.backbone, self.max_new_tokens = backbone, max_new_tokens
        self.temperature, self.seed, self.group = temperature, seed, group
        self.chat = bool(getattr(backbone.tokenizer, "chat_template", None))

    def describe(self) -> dict[str, Any]:
        """Return the model, and how tokens are chosen."""
        return {
            "model": dict(self.backbone.identity),
            "chat": self.chat,
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "group": self.group,
            "seed": self.seed,
        }

    def describe_run(self) -> dict[str, Any]:
        """Return what the model runs on."""
        return {"choices": dict(self.backbone.choices)}

    def write(self, prompts: Sequence[Prompt], done: Container[str] = ()) -> Iterator[list[Answer]]:
        """Yield the answers of a group at a time."""
        for start in range(0, len(prompts), self.group):
            group = prompts[start : start + self.group]
            if any(prompt.id not in done for prompt in group):
                answers = self._write_group(group, done)
                yield [answer for answer in answers if answer.id not in done]

    def _write_group(self, group: Sequence[Prompt], done: Container[str]) -> list[Answer]:
        from methods.backbone.generation import generate_ids

        begun = time.perf_counter()
        ids = {prompt.id: self._encode(prompt) for prompt in group}
        limit = self.backbone.max_positions or float("inf")
        fits = [p for p in group if len(ids[p.id]) + self.max_new_tokens <= limit]
        written: Mapping[str, list[int]] = {}
        if any(prompt.id not in done for prompt in fits):  # those too long are never done
            seed = make_seed(self.seed, *(prompt.id for prompt in group)) % 2**32
            found = generate_ids(
                self.backbone,
                [ids[prompt.id] for prompt in fits],
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
                seed=seed,
            )
            written = {prompt.id: tokens for prompt, tokens in zip(fits, found, strict=True)}
        seconds = round((time.perf_counter() - begun) / len(group), 4)
        return [self._make_answer(p, ids[p.id], written.get(p.id), seconds) for p in group]

    def _encode(self, prompt: Prompt) -> list[int]:
        from methods.backbone.generation import encode_prompts

        tokenizer: Any = self.backbone.tokenizer
        text = prompt.text if self.chat else f"{prompt.text}{' ' * bool(prompt.opening)}"
        (ids,) = encode_prompts(tokenizer, [text], chat=self.chat)
        if prompt.opening:
            ids = ids + tokenizer(prompt.opening, add_special_tokens=False)["input_ids"]
        return ids

    def _make_answer(
        self, prompt: Prompt, ids: list[int], written: list[int] | None, seconds: float
    ) -> Answer:
        if written is None:
            error = f"the prompt's {len(ids)} tokens leave no room for {self.max_new_tokens} more"
            return Answer(prompt.id, "", len(ids), 0, seconds, error)
        tokenizer: Any = self.backbone.tokenizer
        text = prompt.opening + tokenizer.decode(written, skip_special_tokens=True)
        return Answer(prompt.id, text, len(ids), len(written), seconds)
