"""Encode passages and questions with an encoder, as unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from methods.documents.passage import Passage
from methods.identity import digest, digest_class

if TYPE_CHECKING:
    from methods.encoding.encoder import Encoder

INSTRUCTION = "Given a question, retrieve passages that answer it"
HEADING_CHARACTERS = 160  # of the headings above a passage, the innermost


def describe_encoder(encoder: Encoder) -> dict[str, Any]:
    """Return what decides an encoder's vectors, for an index to state: names, and a digest."""
    from methods.encoding.mteb_interface import describe_method

    method, identity = encoder.method, encoder.backbone.identity
    values = [identity, describe_method(method), encoder.post.identify()]
    return {
        "method": type(method).__module__.rpartition(".")[2],
        "model": identity["name"],
        "digest": digest([*values, digest_class(type(method))], 16),
    }


def encode_passages(encoder: Encoder, passages: Sequence[Passage]) -> np.ndarray:
    """Return unit vectors [N, D] of passages, each encoded under its headings."""
    return _encode(encoder, [format_passage(passage) for passage in passages], "document", None)


def encode_questions(
    encoder: Encoder, questions: Sequence[str], *, instruction: str | None = None
) -> np.ndarray:
    """Return unit vectors [N, D] of questions. instruction: for a method that uses one."""
    asked = (instruction or INSTRUCTION) if encoder.method.uses_instructions else None
    return _encode(encoder, questions, "query", asked)


def format_passage(passage: Passage) -> str:
    """Return what is encoded of a passage: its text under the headings above it.

    A section's text seldom repeats what its heading says, and a question often asks for that.
    """
    headings = ": ".join(passage.section)[-HEADING_CHARACTERS:]
    return f"{headings}\n{passage.text}" if headings else passage.text


def _encode(encoder: Encoder, texts: Sequence[str], side: Any, instruction: Any) -> np.ndarray:
    codes = encoder.encode(texts, prompt_type=side, instruction=instruction)
    vectors_ND = encoder.restore(codes).astype(np.float32)
    norms_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return vectors_ND / np.maximum(norms_N1, 1e-18)  # a zero vector is similar to none
