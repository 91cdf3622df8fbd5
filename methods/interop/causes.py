"""Name the first stage at which two encoders differ, and what usually causes that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from methods.interop.agreement import compute_cosines
from methods.interop.checks import are_near, have_equal_ids, measure_states
from methods.interop.comparison import TOLERANCES, Stage, Verdict, find_tolerance
from methods.interop.stages import EncoderStages, TextStages
from methods.interop.token_causes import Cause, explain_tokens

UNIT = 5e-3  # how far a vector's length may be from 1; half precision rounds
FURTHER = 3  # causes beside the most frequent one that are named
ATTENTION = (
    "attention is set otherwise than the weights were trained with: is_causal in config.json, "
    "attention= (methods of ours); LLM2Vec's own classes have been causal since transformers 4.53"
)
IN_A_BATCH = (
    "padding: a mask made of ids that are not the padding's (which may be the EOS), left padding "
    "without position ids, or attention that is causal on padded batches only"
)


def find_verdict(
    a: EncoderStages, b: EncoderStages, stages: Sequence[Stage], texts: Sequence[str]
) -> Verdict:
    """Return the first difference in words, with the usual cause of what was seen."""
    by_name = {stage.name: stage for stage in stages}
    first = next((stage for stage in stages if stage.differs and stage.counts), None)
    if first is None:
        return Verdict(_describe_agreement(a, b), "")
    if first.name in ("text as prepared", "token ids"):
        verdict = _explain_ids(a, b, texts, first, by_name["token ids"])
    else:
        verdict = _explain_later(a, b, first, by_name)
    others = [_name_other(stage, first, a, b) for stage in stages]
    if found := [other for other in others if other]:
        return Verdict(f"{verdict.sentence}. Also: {'; '.join(found)}", verdict.hint)
    return verdict


def _describe_agreement(a: EncoderStages, b: EncoderStages) -> str:
    smallest = find_tolerance(a, b)[0]
    if smallest == TOLERANCES["float32"][0]:
        return f"No difference: every stage that both show agrees (cosine {smallest} or more)"
    return (
        f"No difference within the tolerance of half precision (cosine {smallest} or more): "
        f"A is {a.dtype}, B {b.dtype}. With dtype=float32 on both sides it is {0.99999}"
    )


def _explain_ids(
    a: EncoderStages, b: EncoderStages, texts: Sequence[str], first: Stage, ids: Stage
) -> Verdict:
    """Explain token ids by the causes of all texts, the most frequent first."""
    examples: dict[str, Cause] = {}
    counts: Counter[str] = Counter()
    for x, y, text in zip(a.texts, b.texts, texts, strict=True):
        if x.fault or y.fault or not have_equal_ids(x, y):
            for cause in explain_tokens(x, y, a, b, text):
                counts[cause.kind] += 1
                examples.setdefault(cause.kind, cause)
    names = " and ".join(s.name for s in (first, ids) if s.differs) if first != ids else first.name
    number = (first.texts or 0) - (first.agree or 0)
    sentence = f"First difference: {names} ({number} of {first.texts} texts)"
    kinds = [kind for kind, _ in counts.most_common()]
    if not kinds:
        return Verdict(sentence)
    seen = [f"{examples[kind].sentence} ({_count(counts[kind])})" for kind in kinds[: FURTHER + 1]]
    hints = [examples[kind].hint for kind in kinds[: FURTHER + 1] if examples[kind].hint]
    seen = [one[0].upper() + one[1:] for one in seen]
    return Verdict(f"{sentence}: {'. '.join(seen)}", "; ".join(dict.fromkeys(hints)))


def _count(number: int) -> str:
    return "1 text" if number == 1 else f"{number} texts"


def _explain_later(
    a: EncoderStages, b: EncoderStages, first: Stage, stages: dict[str, Stage]
) -> Verdict:
    """Explain a difference where the token ids are equal or not known."""
    start = f"First difference: {first.name}"
    if first.first is None:  # of the encoders
        return Verdict(f"{start}: A is {first.a}, B {first.b}", ATTENTION)
    start += f" ({(first.texts or 0) - (first.agree or 0)} of {first.texts} texts)"
    x, y = a.texts[first.first], b.texts[first.first]
    if first.name == "attention mask":
        return _explain_mask(start, x, y, a, b)
    if first.name == "pooled tokens":
        return _explain_pooling(start, *_find_longest(a, b), a, b)
    if first.name == "hidden states":
        return _explain_states(start, x, y, a, b, stages)
    if first.name == "vectors of one call":
        return _explain_call(start, a, b, first.first, stages)
    p, q = (x.pooled_D, y.pooled_D) if first.name == "pooled vector" else (x.vector_D, y.vector_D)
    assert p is not None and q is not None
    return _explain_vectors(start, p, q, stages)


def _explain_mask(
    start: str, x: TextStages, y: TextStages, a: EncoderStages, b: EncoderStages
) -> Verdict:
    for one, encoder, side in ((x, a, "A"), (y, b, "B")):
        if one.ids and one.attended and not all(one.attended):
            unseen = [id for id, seen in zip(one.ids, one.attended, strict=True) if not seen]
            shown = encoder.decode(unseen) if encoder.decode else unseen
            hint = "a mask made of ids that are not the padding's"
            if encoder.roles.get("pad") in unseen:
                hint += f": {shown} is the padding token too"
            return Verdict(f"{start}: {side}'s attention does not see {shown!r}", hint)
    return Verdict(start)


def _find_longest(a: EncoderStages, b: EncoderStages) -> tuple[TextStages, TextStages]:
    """Return the longest text whose pooling is known: of one token every pooling is the same."""
    pairs = [
        (x, y)
        for x, y in zip(a.texts, b.texts, strict=True)
        if x.weights_L is not None and y.weights_L is not None
    ]
    return max(pairs, key=lambda pair: len(pair[0].weights_L))  # pyright: ignore


def _explain_pooling(
    start: str, x: TextStages, y: TextStages, a: EncoderStages, b: EncoderStages
) -> Verdict:
    sentence = f"{start}: A pools {describe_pooling(x, a)}, B {describe_pooling(y, b)}"
    if x.pooling != y.pooling:
        hint = "another pooling: pooling= (methods of ours), 1_Pooling/config.json"
        if "place in the row" in f"{x.pooling}{y.pooling}":
            hint += "; weights count from the row's start, not from the first pooled token"
        return Verdict(sentence, hint)
    return Verdict(
        sentence,
        "the same pooling over other tokens: a prompt or template that only one leaves out "
        "(include_prompt, the method's pool mask), or a last token chosen by another mask",
    )


def describe_pooling(one: TextStages, encoder: EncoderStages) -> str:
    """Return what a row pools, in words."""
    if one.weights_L is None or one.ids is None:
        return f"by {one.pooling}" if one.pooling else "by a pooling that is not known"
    places, L = np.flatnonzero(one.weights_L), len(one.weights_L)
    if len(places) == 1:
        token = encoder.decode([one.ids[places[0]]]) if encoder.decode else one.ids[places[0]]
        return f"token {places[0] + 1} of {L}, {token!r}"
    return f"the {one.pooling} of tokens {places[0] + 1} to {places[-1] + 1} of {L}"


def _explain_states(
    start: str,
    x: TextStages,
    y: TextStages,
    a: EncoderStages,
    b: EncoderStages,
    stages: dict[str, Stage],
) -> Verdict:
    cosines_L = measure_states(x, y)
    if cosines_L is not None and len(cosines_L):
        place = int(np.nan_to_num(cosines_L, nan=-1).argmin())
        start += f": smallest cosine {cosines_L[place]:.5f}, at token {place + 1}"
    weights = stages["weights"]
    if a.state != b.state:
        return Verdict(
            f"{start}. A pools the states {a.state}, B those {b.state}", "another layer="
        )
    if weights.differs:
        number = (weights.texts or 0) - (weights.agree or 0)
        sentence = f"{start}. {number} of {weights.texts} weights differ, first: {weights.a}"
        return Verdict(
            sentence,
            "other weights: an adapter that only one has merged, another checkpoint, or weights "
            "that were quantised",
        )
    if a.dtype != b.dtype:
        return Verdict(f"{start}. A is {a.dtype}, B {b.dtype}", "compare both in dtype=float32")
    kernels = f"A runs {a.kernel}, B {b.kernel}"
    return Verdict(
        f"{start}, with the same ids, attention and weights. {kernels}",
        "position ids (left padding, position tables), or a kernel at fault: compare both with "
        "kernel=eager and attn_implementation=eager",
    )


def _explain_vectors(start: str, p: np.ndarray, q: np.ndarray, stages: dict[str, Stage]) -> Verdict:
    if p.shape != q.shape:
        return Verdict(
            f"{start}: A has {len(p)} dimensions, B {len(q)}",
            "truncate_dim, a Dense module, or another model",
        )
    lengths, cosine = (
        [float(np.linalg.norm(one)) for one in (p, q)],
        compute_cosines(p[None], q[None])[0],
    )
    sentence = f"{start}: cosine {cosine:.5f}, lengths {lengths[0]:.4g} and {lengths[1]:.4g}"
    units = [_have_unit_length(one) for one in (p, q)]
    if cosine >= TOLERANCES["float32"][0] and units[0] != units[1]:
        side = "A" if units[0] else "B"
        return Verdict(
            f"{sentence}: only {side} returns vectors of unit length",
            "normalize=true (methods of ours), a Normalize module or normalize_embeddings; it "
            "matters for dot products, not for cosines",
        )
    if unknown := stages["hidden states"].unknown:
        return Verdict(
            sentence,
            f"not known, since {unknown} does not show how its vectors were made; name the model "
            f"instead",
        )
    return Verdict(sentence, "a module behind the pooling (Dense), or a trained pooling")


def _explain_call(
    start: str, a: EncoderStages, b: EncoderStages, row: int, stages: dict[str, Stage]
) -> Verdict:
    """Explain vectors that differ as they are returned, though all before is equal or not known."""
    for encoder, side in ((a, "A"), (b, "B")):
        alone_D, together_D = encoder.texts[row].vector_D, encoder.vectors_ND[row]
        if are_near(alone_D, together_D, find_tolerance(encoder, encoder)) is False:
            assert alone_D is not None
            cosine = compute_cosines(alone_D[None], together_D[None])[0]
            sentence = f"{side} returns another vector for text {row} in a batch than alone"
            return Verdict(f"{start}: {sentence} (cosine {cosine:.5f})", IN_A_BATCH)
    return _explain_vectors(start, a.vectors_ND[row], b.vectors_ND[row], stages)


def _name_other(stage: Stage, first: Stage, a: EncoderStages, b: EncoderStages) -> str | None:
    """Return a difference that does not follow from the first one."""
    if stage == first or not stage.differs:
        return None
    if stage.name in ("attention", "dtype"):
        return f"{stage.name} (A {stage.a}, B {stage.b})"
    if stage.name == "pooled tokens" and first.name in ("text as prepared", "token ids"):
        x, y = _find_longest(a, b)
        if x.pooling != y.pooling:
            return f"pooling (A {describe_pooling(x, a)}, B {describe_pooling(y, b)})"
    if stage.name == "weights" and first.name != "hidden states":
        return f"weights ({stage.a})"
    if stage.name == "vectors of one call" and first.name != "vector":
        units = [_have_unit_length(encoder.vectors_ND) for encoder in (a, b)]
        return f"only {'AB'[units.index(True)]} returns unit vectors" if sum(units) == 1 else None
    return None


def _have_unit_length(vectors: np.ndarray) -> bool:
    return bool(np.allclose(np.linalg.norm(vectors, axis=-1), 1, atol=UNIT))
