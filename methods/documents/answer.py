"""Answer a question from the passages that were found, by the model that encoded them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.documents.search import Hit

if TYPE_CHECKING:
    from methods.encoding.encoder import Encoder

MAX_NEW_TOKENS = 128
# Passages first and the question last: small models take an instruction that comes first for text.
TASK = """Answer the question from the passages above alone, in one or two sentences. Write the \
number of the passage that you use in brackets, such as [1]. If the passages do not answer the \
question, write: The passages do not say."""


@dataclass(frozen=True)
class Answer:
    """What a model wrote. given: numbers of the passages it was given. cited: those of them that
    the text names in brackets. unknown: numbers it names that it was not given."""

    text: str
    given: list[int]
    cited: list[int]
    unknown: list[int]


def answer(
    encoder: Encoder, question: str, hits: Sequence[Hit], *, max_new_tokens: int = MAX_NEW_TOKENS
) -> Answer:
    """Generate an answer to a question from hits alone, under causal attention, greedily.

    Hits that do not fit into the model's positions are left out, the farthest first.
    Raises ValueError for an encoder whose model cannot generate, and for no hits: whether anything
    relevant was found is for scores to say, not for the model.
    """
    from methods.backbone.generation import encode_prompts, generate_ids

    if not hits:
        raise ValueError("there is no passage to answer from; nothing relevant was found")
    check_generates(encoder)
    backbone = encoder.backbone
    tokenizer, limit = backbone.tokenizer, backbone.max_positions
    chat = bool(getattr(tokenizer, "chat_template", None))
    given = list(hits)
    while True:
        (ids,) = encode_prompts(tokenizer, [write_prompt(question, given)], chat=chat)
        if limit is None or len(ids) + max_new_tokens <= limit or len(given) == 1:
            break
        given.pop()
    (written,) = generate_ids(backbone, [ids], max_new_tokens=max_new_tokens)
    text = tokenizer.decode(written, skip_special_tokens=True).strip()
    numbers = [hit.number for hit in given]
    named = sorted({int(number) for number in re.findall(r"\[(\d{1,4})\]", text)})
    cited = [number for number in named if number in numbers]
    return Answer(text, numbers, cited, [number for number in named if number not in numbers])


def write_prompt(question: str, hits: Sequence[Hit]) -> str:
    """Return the prompt that hits and a question make."""
    passages = [f"[{hit.number}] {describe_place(hit)}\n{hit.passage.text}" for hit in hits]
    return "\n\n".join(["Passages:", *passages, TASK, f"Question: {question}\nAnswer:"])


def describe_place(hit: Hit) -> str:
    """Return a hit's file and section in one line."""
    return " > ".join([hit.passage.file, *hit.passage.section])


def check_generates(encoder: Encoder) -> None:
    """Raise ValueError, naming the model, unless it can generate text."""
    from methods.backbone.generation import generate_ids

    try:
        encoder.backbone.require_attention("causal")
        generate_ids(encoder.backbone, [], max_new_tokens=1)  # builds the head, writes nothing
    except ValueError as error:
        name = encoder.backbone.identity["name"]
        raise ValueError(
            f"{name} has no language-model head and cannot write an answer ({error}); choose a "
            f"decoder for both, such as method=echo model=smollm2_135m, or ask for passages alone"
        ) from error
