"""Transform pooled vectors: cut dimensions, quantise to 8 bits or to signs. Numpy only.

A `post` is written as its steps, joined by +, in the order they are applied:

    dims:K    keep the first K dimensions (Matryoshka, arXiv 2205.13147)
    int8      one byte a dimension, 256 equal steps between the smallest and the largest value that
              the dimension has over a calibration corpus
    binary    one bit a dimension: whether it is above 0; eight of them packed into a byte

Transforms come before scaling to unit length, a quantisation comes after it and stands last. Codes
are those of sentence-transformers' `quantize_embeddings` (int8 and ubinary). Its ranges come from
the vectors themselves where none are given; here they come from a corpus that is named, in the
setting and in the digest, so that no task's texts decide its own score.

N vectors, D dimensions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from methods.fields import nearest
from methods.identity import digest

NONE = "none"  # how no post at all is written among others
QUANTIZED = ("int8", "binary")
VALID = "dims:K, int8, binary, or several joined by + as in dims:256+int8; none"


@dataclass(frozen=True)
class Corpus:
    """Texts that a step is fitted on. name: as it was given."""

    name: str
    texts: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """Return what records state of the corpus."""
        return {"name": self.name, "texts": len(self.texts), "digest": digest(self.texts, 16)}


@dataclass(frozen=True)
class Post:
    """What is done to a vector after pooling. steps: name and number (of dims), in order.

    corpus: what int8's ranges are measured on.
    """

    steps: tuple[tuple[str, int | None], ...] = ()
    corpus: Corpus | None = None

    @property
    def name(self) -> str:
        """Return the post as it is written; empty where there is none."""
        return "+".join(n if k is None else f"{n}:{k}" for n, k in self.steps)

    @property
    def quantization(self) -> str | None:
        """Return the quantisation, if there is one."""
        return next((name for name, _ in self.steps if name in QUANTIZED), None)

    @property
    def is_fitted(self) -> bool:
        """Return whether a step needs a corpus."""
        return self.quantization == "int8"

    def describe(self) -> dict[str, Any]:
        """Return the steps and what they are fitted on, as records state them."""
        fitted = self.corpus.describe() if self.is_fitted and self.corpus else None
        return {"steps": self.name, "fitted_on": fitted}

    def identify(self) -> list[Any]:
        """Return what decides what the steps make of a vector, wherever the texts lie."""
        fitted = self.describe()["fitted_on"]
        return [self.name, fitted and fitted["digest"]]

    def transform(self, vectors_ND: np.ndarray) -> np.ndarray:
        """Return vectors after the steps before scaling. Raises ValueError for too many dims."""
        for name, number in self.steps:
            if name == "dims":
                vectors_ND = cut_dimensions(vectors_ND, number or 0)
        return vectors_ND

    def quantize(self, vectors_ND: np.ndarray, ranges_2D: np.ndarray | None) -> np.ndarray:
        """Return codes: int8 [N, D], or uint8 [N, D / 8] of packed signs; else the vectors."""
        if self.quantization == "int8":
            assert ranges_2D is not None
            return quantize_int8(vectors_ND, ranges_2D)
        return pack_signs(vectors_ND) if self.quantization == "binary" else vectors_ND

    def restore(self, codes: np.ndarray, ranges_2D: np.ndarray | None) -> np.ndarray:
        """Return float32 vectors [N, D] that codes stand for: the middle of a step of int8, 1 or -1
        for a bit (whose cosine orders as Hamming distance does)."""
        if self.quantization == "int8":
            assert ranges_2D is not None
            return restore_int8(codes, ranges_2D)
        return unpack_signs(codes) if self.quantization == "binary" else codes


NO_POST = Post()


def parse_post(value: Any, *, key: str = "post") -> Post:
    """Return the post that a setting names. Raises ValueError for what is none."""
    if value is None or value in (NONE, ""):
        return NO_POST
    if not isinstance(value, str):
        raise ValueError(f"{key} {value!r} is not valid; it takes text: {VALID}")
    steps = tuple(_parse_step(word.strip(), key) for word in value.split("+"))
    names = [name for name, _ in steps]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{key}={value} has {twice} twice; write it once")
    if early := next((name for name in names[:-1] if name in QUANTIZED), None):
        if names[-1] in QUANTIZED:
            raise ValueError(f"{key}={value} quantises twice; write {early} or {names[-1]}")
        raise ValueError(f"{key}={value}: {early} makes codes, which no step takes; write it last")
    return Post(steps)


def _parse_step(word: str, key: str) -> tuple[str, int | None]:
    name, colon, number = word.partition(":")
    if name == "dims" and re.fullmatch(r"[1-9]\d*", number):
        return name, int(number)
    if name == "dims":
        raise ValueError(f"{key}={word}: dims takes a number of dimensions, 1 or more: dims:256")
    if name in QUANTIZED and not colon:
        return name, None
    if name in QUANTIZED:
        raise ValueError(f"{key}={word}: {name} takes no number; write {key}={name}")
    hint = nearest(name, ("dims", *QUANTIZED))
    raise ValueError(f"{key} {word!r} is unknown; valid: {VALID}{hint}")


def fit_ranges(vectors_ND: np.ndarray) -> np.ndarray:
    """Return the smallest and the largest value of each dimension: [2, D], float32."""
    return np.stack([vectors_ND.min(axis=0), vectors_ND.max(axis=0)]).astype(np.float32)


def cut_dimensions(vectors_ND: np.ndarray, number: int) -> np.ndarray:
    """Return the first dimensions of vectors. Raises ValueError where there are fewer."""
    if number > vectors_ND.shape[1]:
        raise ValueError(
            f"post=dims:{number} asks for more dimensions than the {vectors_ND.shape[1]} of these "
            f"vectors; give {vectors_ND.shape[1]} or fewer"
        )
    return np.ascontiguousarray(vectors_ND[:, :number])


def quantize_int8(vectors_ND: np.ndarray, ranges_2D: np.ndarray) -> np.ndarray:
    """Return the step, -128 to 127, that each value lies in; what lies outside is clipped."""
    low_D, step_D = _measure_steps(ranges_2D)
    return (np.clip(np.floor((vectors_ND - low_D) / step_D), 0, 255) - 128).astype(np.int8)


def restore_int8(codes_ND: np.ndarray, ranges_2D: np.ndarray) -> np.ndarray:
    """Return the middle of each code's step."""
    low_D, step_D = _measure_steps(ranges_2D)
    middle_D = np.where(ranges_2D[0] == ranges_2D[1], np.float32(0), np.float32(0.5))
    return low_D + (codes_ND.astype(np.float32) + 128 + middle_D) * step_D


def pack_signs(vectors_ND: np.ndarray) -> np.ndarray:
    """Return whether each value is above 0, eight in a byte: uint8 [N, D / 8]."""
    if vectors_ND.shape[1] % 8:
        raise ValueError(
            f"post=binary packs 8 dimensions into a byte, {vectors_ND.shape[1]} are no multiple of "
            f"8; cut them: post=dims:{vectors_ND.shape[1] // 8 * 8 or 8}+binary"
        )
    return np.packbits(vectors_ND > 0, axis=1)


def unpack_signs(codes: np.ndarray) -> np.ndarray:
    """Return 1 for a set bit and -1 for another: float32 [N, D]."""
    return np.unpackbits(codes, axis=1).astype(np.float32) * 2 - 1


def _measure_steps(ranges_2D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low_D = ranges_2D[0]
    step_D = (ranges_2D[1] - low_D) / np.float32(255)
    return low_D, np.where(step_D == 0, np.float32(1), step_D)
