"""Align the token ids of two encoders: what both have, and what each has around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from methods.interop.stages import TextStages

SEED = 400  # tokens at the front in which the longest common run is looked for


@dataclass(frozen=True)
class Alignment:
    """Two rows of ids around the run that they share: `a[a_start : a_start + length]`."""

    a: list[int]
    b: list[int]
    a_start: int
    b_start: int
    length: int

    @property
    def fronts(self) -> tuple[list[int], list[int]]:
        """Return what each has before the shared run, without what both begin with."""
        a, b = self.a[: self.a_start], self.b[: self.b_start]
        common = _count_common(a, b)
        return a[common:], b[common:]

    @property
    def ends(self) -> tuple[list[int], list[int]]:
        """Return what each has after the shared run, without what both end with."""
        a, b = self.a[self.a_start + self.length :], self.b[self.b_start + self.length :]
        common = _count_common(a[::-1], b[::-1])
        return a[: len(a) - common], b[: len(b) - common]


def align(a: Sequence[int], b: Sequence[int]) -> Alignment:
    """Find the longest run of ids that two rows share; of rows that nest, the whole shorter one."""
    a, b = list(a), list(b)
    prefix, suffix = _count_common(a, b), _count_common(a[::-1], b[::-1])
    shorter = min(len(a), len(b))
    if prefix == shorter:
        return Alignment(a, b, 0, 0, prefix)
    if suffix == shorter:
        return Alignment(a, b, len(a) - suffix, len(b) - suffix, suffix)
    found = SequenceMatcher(None, a[:SEED], b[:SEED], autojunk=False).find_longest_match()
    length = found.size + _count_common(a[found.a + found.size :], b[found.b + found.size :])
    if length < prefix:
        return Alignment(a, b, 0, 0, prefix)
    return Alignment(a, b, found.a, found.b, length)


def trim_padding(x: TextStages, y: TextStages) -> tuple[slice, slice]:
    """Return what of each row is no padding: ends that attention does not see are cut.

    But not below the other row's length: an EOS that attention does not see, because the padding
    token has the same id, is a fault of the mask and no padding.
    """
    assert x.attended is not None and y.attended is not None
    return _find_row(x.attended, len(y.attended)), _find_row(y.attended, len(x.attended))


def _find_row(attended: Sequence[bool], other: int) -> slice:
    start, stop = 0, len(attended)
    while stop - start > other and not attended[start]:
        start += 1
    while stop - start > other and not attended[stop - 1]:
        stop -= 1
    return slice(start, stop)


def _count_common(a: Sequence[int], b: Sequence[int]) -> int:
    number = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        number += 1
    return number
