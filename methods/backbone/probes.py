"""Decide at load what a model supports: attentions and under which kernel, packed sequences."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, get_args

from methods.backbone.attention import explain_unsupported
from methods.backbone.packed_batch import PackedLayout
from methods.backbone.packing_probe import find_packing_fault
from methods.backbone.structure import is_out_of_memory
from methods.base import Attention

log = logging.getLogger(__name__)


def choose_kernel(model: Any, kernels: Sequence[str]) -> tuple[dict[Attention, str], str]:
    """Set the first kernel under which a model supports most attentions.

    Returns the attentions it does not support under that kernel, with the reasons, and the kernel.
    """
    found: dict[str, dict[Attention, str]] = {}
    for kernel in kernels:
        found[kernel] = _find_refused(model, kernel, switch=len(kernels) > 1)
        if not found[kernel]:
            break
    best = min(found, key=lambda kernel: len(found[kernel]))
    if len(kernels) > 1:
        model.set_attn_implementation(best)
    name = type(model).__name__
    if best != kernels[0]:
        log.warning(
            "%s is run with %s attention, not %s (%s)",
            name,
            best,
            kernels[0],
            _join(found[kernels[0]]),
        )
    for attention, why in found[best].items():  # asking for it is an error
        log.info("%s cannot attend with attention=%s under %s: %s", name, attention, best, why)
    return found[best], best


def _find_refused(model: Any, kernel: str, *, switch: bool) -> dict[Attention, str]:
    """Return the attentions that a model does not support under a kernel, with the reasons."""
    try:
        if switch:
            model.set_attn_implementation(kernel)
    except Exception as error:  # a package that is missing or broken, an architecture without it
        if is_out_of_memory(error):
            raise
        why = f"setting it raises {type(error).__name__}: {str(error)[:300]}"
        return dict.fromkeys(get_args(Attention), why)
    reasons = {one: explain_unsupported(model, one) for one in get_args(Attention)}
    return {attention: why for attention, why in reasons.items() if why}


def choose_packed(
    model: Any,
    attentions: Collection[Attention],
    *,
    layouts: Sequence[PackedLayout],
    wish: bool | Literal["auto"],
) -> tuple[frozenset[Attention], PackedLayout]:
    """Return the attentions under which sequences are packed, and the layout: the first under which
    all are, else the first under which most are.

    wish: True where packing was asked for by name; then a model that cannot is a ValueError.
    """
    if wish is False:
        return frozenset(), layouts[0]
    found: dict[PackedLayout, dict[Attention, str]] = {}
    for layout in layouts:
        found[layout] = {
            one: fault
            for one in attentions
            if (fault := find_packing_fault(model, one, layout)) is not None
        }
        if not found[layout]:
            break
    best = min(found, key=lambda layout: len(found[layout]))
    name = type(model).__name__
    for layout, faults in found.items():
        if layout != best:
            log.warning("%s is packed as %s, not %s (%s)", name, best, layout, _join(faults))
    if not found[best]:
        return frozenset(attentions), best
    if wish is True:
        raise ValueError(
            f"kernel.packed=true, but {name} cannot be run on packed sequences under every "
            f"attention it supports ({_join(found[best])}); use kernel.packed=auto"
        )
    log.warning("%s is run padded under attention=%s", name, _join(found[best]))
    return frozenset(attentions) - found[best].keys(), best


def _join(reasons: Mapping[Attention, str]) -> str:
    return "; ".join(f"{attention}: {why}" for attention, why in sorted(reasons.items()))
