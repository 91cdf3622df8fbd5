"""Compare two encoders stage by stage, from the text to the vector, and name the first difference.

    from methods.interop.compare import compare

    found = compare(load_encoder("sgpt", model=DIR), SentenceTransformer(DIR))
    print(found.verdict.sentence, found.verdict.hint)

N texts, L tokens of a row, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from methods.base import PromptType
from methods.encoding.encoder import Encoder
from methods.interop.agreement import measure_agreement
from methods.interop.causes import find_verdict
from methods.interop.checks import (
    are_near,
    compare_weights,
    have_equal_ids,
    have_equal_masks,
    have_near_states,
    pool_alike,
)
from methods.interop.comparison import Comparison, Stage, find_tolerance
from methods.interop.stages import EncoderStages, TextStages
from methods.interop.texts import choose_texts
from methods.interop.trace_encoder import trace_encoder
from methods.interop.trace_sentence_transformer import trace_sentence_transformer
from methods.interop.trace_vectors import trace_vectors

Check = Callable[[TextStages, TextStages], bool | None]


def compare(
    a: Any,
    b: Any,
    texts: Any = None,
    *,
    side: PromptType | None = None,
    instruction: str | None = None,
) -> Comparison:
    """Compare two encoders on texts.

    a, b: an encoder of load_encoder, a SentenceTransformer, vectors [N, D], or EncoderStages that
        one of the trace functions returned.
    texts: a list, a file (texts.py), or None for the built-in ones.
    instruction: for methods of ours that use one; a SentenceTransformer has prompts of its own.
    """
    vectors = [one for one in (a, b) if isinstance(one, np.ndarray)]
    if texts is None and len(vectors) == 2:
        chosen = [f"row {row}" for row in range(min(map(len, vectors)))]
    else:
        chosen, _ = choose_texts(texts)
    traced = [_trace(one, chosen, side, instruction, label) for one, label in ((a, "A"), (b, "B"))]
    return compare_stages(*traced, texts=chosen)


def _trace(one: Any, texts: list[str], side: Any, instruction: Any, name: str) -> EncoderStages:
    if isinstance(one, EncoderStages):
        return one
    if isinstance(one, Encoder):
        return trace_encoder(one, texts, side=side, instruction=instruction)
    if isinstance(one, np.ndarray):
        return trace_vectors(one, number=len(texts), name=name)
    if hasattr(one, "encode") and hasattr(one, "max_seq_length"):
        return trace_sentence_transformer(one, texts, side=side)
    raise ValueError(
        f"{name} is {type(one).__name__}; valid: an encoder of load_encoder, a "
        f"SentenceTransformer, vectors as a numpy array"
    )


def compare_stages(a: EncoderStages, b: EncoderStages, *, texts: Sequence[str]) -> Comparison:
    """Compare what two encoders made of the same texts."""
    if not len(a.texts) == len(b.texts) == len(texts):
        raise ValueError(
            f"{a.name} has {len(a.texts)} texts, {b.name} {len(b.texts)}; both take the same "
            f"{len(texts)}"
        )
    tolerance = find_tolerance(a, b)

    def near_states(x: TextStages, y: TextStages) -> bool | None:
        return have_near_states(x, y, tolerance)

    stages = [
        _count("text as prepared", "prepared", lambda x, y: x.prepared == y.prepared, a, b),
        _count("token ids", "ids", have_equal_ids, a, b),
        _count("attention mask", "attended", have_equal_masks, a, b),
        _count("pooled tokens", "weights_L", pool_alike, a, b),
        _describe("attention", a.attention, b.attention),
        _describe("dtype", a.dtype, b.dtype, counts=False),
        _describe("kernel", a.kernel, b.kernel, counts=False),
        compare_weights(a, b),
        _count("hidden states", "hidden_LD", near_states, a, b),
        *(
            _count(name, part, lambda x, y, part=part: _near(x, y, part, tolerance), a, b)
            for name, part in (("pooled vector", "pooled_D"), ("vector", "vector_D"))
        ),
        _compare_returned(a, b, tolerance),
    ]
    return Comparison(
        a,
        b,
        list(texts),
        stages,
        tolerance,
        measure_agreement(a.vectors_ND, b.vectors_ND),
        find_verdict(a, b, stages, texts),
    )


def _count(name: str, shown_by: str, check: Check, a: EncoderStages, b: EncoderStages) -> Stage:
    """Count the texts that a check finds alike. shown_by: what a text has where it shows this."""
    pairs = list(zip(a.texts, b.texts, strict=True))
    lacking = [
        side
        for side, encoder in (("A", a), ("B", b))
        if all(getattr(one, shown_by) is None for one in encoder.texts)
    ]
    if lacking:
        return Stage(name, None, None, unknown=" and ".join(lacking))
    found = [False if x.fault or y.fault else check(x, y) for x, y in pairs]
    known = [result for result in found if result is not None]
    different = [row for row, result in enumerate(found) if result is False]
    # A text that raises shows nothing of a stage, so that another one is shown if there is one.
    different.sort(key=lambda row: any(one.fault for one in pairs[row]))
    return Stage(name, sum(known), len(known), different[0] if different else None)


def _near(x: TextStages, y: TextStages, part: str, tolerance: tuple[float, float]) -> bool | None:
    return are_near(getattr(x, part), getattr(y, part), tolerance)


def _describe(name: str, a: str | None, b: str | None, *, counts: bool = True) -> Stage:
    if a is None or b is None:
        lacking = " and ".join(side for side, one in (("A", a), ("B", b)) if one is None)
        return Stage(name, None, None, None, a, b, counts, lacking)
    return Stage(name, int(a == b), 1, None, a, b, counts)


def _compare_returned(a: EncoderStages, b: EncoderStages, tolerance: tuple[float, float]) -> Stage:
    pairs = zip(a.vectors_ND, b.vectors_ND, strict=True)
    found = [are_near(mine, theirs, tolerance) for mine, theirs in pairs]
    first = next((row for row, near in enumerate(found) if not near), None)
    return Stage("vectors of one call", sum(map(bool, found)), len(found), first)
