"""What a comparison of two encoders holds: stages, the verdict, how far the vectors agree."""

from __future__ import annotations

from dataclasses import dataclass

from methods.interop.agreement import Agreement
from methods.interop.stages import EncoderStages

# The smallest cosine, and the largest relative difference of a vector's length, of equal vectors.
# Half precision rounds to three digits, which adds up over layers.
TOLERANCES = {"float32": (0.99999, 1e-3), "half": (0.99, 5e-2)}


@dataclass(frozen=True)
class Stage:
    """How two encoders compare at one stage.

    agree: number of texts that are alike, of `texts`; both None where an encoder does not show
    this: `unknown` says which (`A`, `B` or `A and B`).
    first: the first text that differs. a, b: of a stage that is the encoder's, not a text's, what
    each is. counts: whether a difference here alone makes two encoders differ.
    """

    name: str
    agree: int | None
    texts: int | None
    first: int | None = None
    a: str | None = None
    b: str | None = None
    counts: bool = True
    unknown: str = ""

    @property
    def differs(self) -> bool:
        return self.agree is not None and self.agree != self.texts


@dataclass(frozen=True)
class Verdict:
    """What differs first. sentence: what was seen. hint: the usual cause, or nothing."""

    sentence: str
    hint: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two encoders side by side. tolerance: smallest cosine and largest difference in length."""

    a: EncoderStages
    b: EncoderStages
    texts: list[str]
    stages: list[Stage]
    tolerance: tuple[float, float]
    agreement: Agreement
    verdict: Verdict

    @property
    def agrees(self) -> bool:
        """Return whether every stage that both show agrees within the tolerance."""
        return not any(stage.differs and stage.counts for stage in self.stages)


def find_tolerance(a: EncoderStages, b: EncoderStages) -> tuple[float, float]:
    """Return the tolerance for two encoders' dtypes; that of float32 where one is not known."""
    return TOLERANCES["float32" if {a.dtype, b.dtype} <= {"float32", None} else "half"]
