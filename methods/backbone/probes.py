"""Decide at load what a model supports: attentions and under which kernel, packed sequences."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any, Literal, get_args

from methods.backbone.attention import explain_unsupported
from methods.backbone.packed_batch import PackedLayout
from methods.backbone.packing_probe import find_packing_fault
from methods.base import Attention

log = logging.getLogger(__name__)


def choose_kernel(model: Any, kernels: Sequence[str]) -> tuple[dict[Attention, str], str]:
    """Set the first kernel under which a model supports most attentions.

    Returns the attentions it does not support under that kernel, with the reasons, and the kernel.
    """
    found: dict[str, dict[Attention, str]] = {}
    for kernel in kernels:
        if len(kernels) > 1:
            model.set_attn_implementation(kernel)
        reasons = {one: explain_unsupported(model, one) for one in get_args(Attention)}
        found[kernel] = {attention: why for attention, why in reasons.items() if why}
        if not found[kernel]:
            return {}, kernel
    best = min(found, key=lambda kernel: len(found[kernel]))
    if len(kernels) > 1:
        model.set_attn_implementation(best)
    for attention, why in found[best].items():
        log.info(  # asking for it is an error
            "%s cannot attend with attention=%s under %s: %s",
            type(model).__name__,
            attention,
            best,
            why,
        )
    return found[best], best


def choose_packed(
    model: Any,
    attentions: Collection[Attention],
    *,
    layout: PackedLayout,
    wish: bool | Literal["auto"],
) -> frozenset[Attention]:
    """Return the attentions under which sequences are packed.

    wish: True where packing was asked for by name; then a model that cannot is a ValueError.
    """
    if wish is False:
        return frozenset()
    reasons: dict[Attention, str | None] = {
        attention: find_packing_fault(model, attention, layout) for attention in attentions
    }
    found: frozenset[Attention] = frozenset(one for one, why in reasons.items() if why is None)
    if len(found) == len(attentions):
        return found
    name = type(model).__name__
    faults = "; ".join(f"{attention}: {why}" for attention, why in sorted(reasons.items()) if why)
    if wish is True:
        raise ValueError(
            f"kernel.packed=true, but {name} cannot be run on packed sequences under every "
            f"attention it supports ({faults}); use kernel.packed=auto"
        )
    log.info("%s is run padded under attention=%s", name, faults)
    return found
