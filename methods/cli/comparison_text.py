"""Write what `dec2vec compare` found: as text for a terminal, and as JSON."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict
from typing import Any

import numpy as np

from methods.interop.agreement import compute_cosines
from methods.interop.alignment import align, trim_padding
from methods.interop.causes import describe_pooling
from methods.interop.checks import measure_states
from methods.interop.comparison import Comparison, Stage
from methods.interop.stages import EncoderStages, TextStages

WIDTH = 100
SHOWN = 64  # characters of a text or a stage


def format_comparison(found: Comparison, source: str) -> list[str]:
    """Return what is printed: the encoders, the stages, the agreement, the first difference."""
    lines = [f"{side}  {encoder.name}" for side, encoder in (("A", found.a), ("B", found.b))]
    lines[0] += f"\n     {_describe_encoder(found.a)}"
    lines[1] += f"\n     {_describe_encoder(found.b)}"
    lines += [f"{len(found.texts)} {source}; equal is a cosine of {found.tolerance[0]} or more", ""]
    shown: set[int] = set()  # texts, each of which is shown once
    for stage in found.stages:
        if not stage.unknown:
            lines += _format_stage(stage, found, shown)
    unknown: dict[str, list[str]] = {}
    for stage in found.stages:
        if stage.unknown:
            unknown.setdefault(stage.unknown, []).append(stage.name)
    for side, names in unknown.items():
        lines += textwrap.wrap(f"not known of {side}: {', '.join(names)}", WIDTH)
    return [*lines, "", *_format_agreement(found), "", *_format_verdict(found)]


def _describe_encoder(encoder: EncoderStages) -> str:
    facts = [encoder.about, encoder.dtype, encoder.kernel]
    if encoder.max_length:
        facts.append(f"at most {encoder.max_length} tokens")
    return ", ".join(fact for fact in facts if fact)


def _format_stage(stage: Stage, found: Comparison, seen: set[int]) -> list[str]:
    name = f"{stage.name:20}"
    if stage.name == "weights":
        shown = f"; differs: {stage.a}" if stage.a else ""
        return [f"{name} {stage.agree} of {stage.texts} equal, by samples{shown}"]
    if stage.first is None and (stage.a or stage.b):
        if stage.agree:
            return [f"{name} equal: {stage.a}"]
        note = "" if stage.counts else " (counts as no difference)"
        return [f"{name} A {stage.a}, B {stage.b}{note}"]
    line = f"{name} {stage.agree} of {stage.texts} equal"
    if stage.first is None:
        return [line]
    row = stage.first
    text = "" if row in seen else f", {_shorten(repr(found.texts[row]))}"
    seen.add(row)
    x, y = found.a.texts[row], found.b.texts[row]
    if (x.fault or y.fault) and not text and stage.name != "vectors of one call":
        return [f"{line}; first of the others: text {row}"]
    shown = [f"    {one}" for one in _show_stage(stage.name, x, y, row, found)]
    return [f"{line}; first of the others: text {row}{text}", *shown]


def _show_stage(name: str, x: TextStages, y: TextStages, row: int, found: Comparison) -> list[str]:
    """Return how one text differs at a stage, a line or two."""
    if name == "vectors of one call":
        return [_show_vectors(found.a.vectors_ND[row], found.b.vectors_ND[row])]
    if x.fault or y.fault:
        return [f"{side} raises {one.fault}" for side, one in (("A", x), ("B", y)) if one.fault]
    if name == "text as prepared":
        return _show_prepared(str(x.prepared), str(y.prepared))
    if name == "token ids":
        return _show_ids(x, y)
    if name == "attention mask":
        return [f"{side}  {_show_mask(one)}" for side, one in (("A", x), ("B", y))]
    if name == "pooled tokens":
        pairs = (("A", x, found.a), ("B", y, found.b))
        return [f"{side}  {describe_pooling(one, encoder)}" for side, one, encoder in pairs]
    if name == "hidden states":
        cosines_L = measure_states(x, y)
        if cosines_L is None or not len(cosines_L):
            return ["no token in common"]
        place = int(np.nan_to_num(cosines_L, nan=-1).argmin())
        return [f"{len(cosines_L)} tokens in common, smallest cosine {cosines_L[place]:.5f}"]
    pooled = name == "pooled vector"
    p, q = (x.pooled_D, y.pooled_D) if pooled else (x.vector_D, y.vector_D)
    return [] if p is None or q is None else [_show_vectors(p, q)]


def _show_prepared(a: str, b: str) -> list[str]:
    """Return both texts from shortly before the place where they part."""
    place = next((i for i, (p, q) in enumerate(zip(a, b, strict=False)) if p != q), None)
    start = max((min(len(a), len(b)) if place is None else place) - 24, 0)
    dots = "…" if start else ""
    return [f"{side}  {dots}{_shorten(repr(one[start:]))}" for side, one in (("A", a), ("B", b))]


def _show_ids(x: TextStages, y: TextStages) -> list[str]:
    assert x.ids is not None and y.ids is not None
    mine, theirs = trim_padding(x, y)
    a, b = x.ids[mine], y.ids[theirs]
    found = align(a, b)
    place = found.length if not (found.a_start or found.b_start) else 0
    lines = []
    for side, ids in (("A", a), ("B", b)):
        shown = " ".join(map(str, ids[place : place + 10])) or "(the end)"
        more = " …" if len(ids) > place + 10 else ""
        lines.append(f"{side}  {len(ids)} tokens, from position {place}: {shown}{more}")
    return lines


def _show_mask(one: TextStages) -> str:
    assert one.attended is not None
    unseen = [place for place, seen in enumerate(one.attended) if not seen]
    if not unseen:
        return f"all {len(one.attended)} tokens are seen"
    return f"not seen of {len(one.attended)} tokens: {', '.join(map(str, unseen[:8]))}"


def _show_vectors(a_D: np.ndarray, b_D: np.ndarray) -> str:
    if a_D.shape != b_D.shape:
        return f"{len(a_D)} dimensions against {len(b_D)}"
    cosine = compute_cosines(a_D[None], b_D[None])[0]
    return (
        f"cosine {_number(cosine, 5)}, lengths {np.linalg.norm(a_D):.4g} and "
        f"{np.linalg.norm(b_D):.4g}"
    )


def _format_agreement(found: Comparison) -> list[str]:
    one = found.agreement
    where = "" if one.at is None else f" (text {one.at})"
    lines = [
        f"cosine of the two vectors: mean {_number(one.mean_cosine, 5)}, smallest "
        f"{_number(one.min_cosine, 5)}{where}",
        f"similarities of all pairs of texts: Spearman {_number(one.spearman, 4)}, Kendall "
        f"{_number(one.kendall, 4)}; neighbours shared at {one.nearest}: "
        f"{_number(one.neighbours, 3)}",
    ]
    return lines + [f"texts with a vector of zeros, left out: {one.zeros}"] * (one.zeros > 0)


def _format_verdict(found: Comparison) -> list[str]:
    lines = textwrap.wrap(found.verdict.sentence + ".", WIDTH, break_long_words=False)
    if found.verdict.hint:
        hint = f"Usual cause: {found.verdict.hint}."
        lines += textwrap.wrap(hint, WIDTH, break_long_words=False)
    return lines


def export_comparison(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON takes it; NaN is null."""
    agreement = asdict(found.agreement)
    return {
        "agrees": found.agrees,
        "verdict": asdict(found.verdict),
        "tolerance": {"cosine": found.tolerance[0], "length": found.tolerance[1]},
        "texts": found.texts,
        "encoders": {side: _export(one) for side, one in (("A", found.a), ("B", found.b))},
        "stages": [{**asdict(stage), "differs": stage.differs} for stage in found.stages],
        "agreement": {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in agreement.items()
        },
    }


def _export(encoder: EncoderStages) -> dict[str, Any]:
    names = ("name", "about", "attention", "dtype", "kernel", "state", "max_length")
    rows = [
        {"prepared": one.prepared, "ids": one.ids, "pooling": one.pooling, "fault": one.fault}
        for one in encoder.texts
    ]
    return {**{name: getattr(encoder, name) for name in names}, "texts": rows}


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
