"""The shared model: `load_backbone(spec)` -> Backbone, once per process however many jobs ask.

Choices left to `auto` are made here, logged, and stated in `Backbone.identity` and `.choices`:
dtype (bfloat16 where the hardware computes in it, else float32), device (CUDA where there is one),
attention kernel (flash_attention_2 on CUDA where installed, sdpa, else eager; the first that the
probe accepts), packed rows (where a second probe finds them equal to rows alone), linear layers
(oneDNN's on a CPU). What is asked for by name and cannot be had is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from transformers.utils.logging import disable_progress_bar

from methods.backbone.adapters import chained, refuse_other_base
from methods.backbone.attention import disobeys
from methods.backbone.changes import note_loaded
from methods.backbone.checkpoint import Checkpoint
from methods.backbone.hardware import (
    Dtype,
    Kernel,
    attention_form,
    resolve_batch_tokens,
    resolve_device,
    resolve_dtype,
    resolve_kernels,
)
from methods.backbone.linears import Linears, keep_freed_memory, prepack
from methods.backbone.locks import LOADING
from methods.backbone.merge import merge_adapter
from methods.backbone.packed import Form, packs
from methods.backbone.pooler import Pooler, pooler_of
from methods.backbone.sources import Source
from methods.backbone.structure import usable_positions
from methods.backbone.verify import check_finite, check_vocabulary
from methods.backbone.weights import load_config, load_tokenizer, load_weights
from methods.base import Attention
from methods.fields import check_fields
from methods.identity import adapter_digest

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """What a model YAML says. name: `org/name` in records. adapters: PEFT folders, merged in order.

    packed: whether sequences are packed instead of padded.
    linears: linear layers, `onednn` (on a CPU) or `torch`.
    batch_tokens: tokens a batch may have (padded ones where it is padded), or `auto`.
    four_bit: the weights in 4 bits (bitsandbytes' nf4, CUDA only), as QLoRA is trained.
    remote_code: run code from the checkpoint's repository; off unless asked for by name.
    """

    name: str
    source: Source
    adapters: tuple[str, ...] = ()
    dtype: Dtype = "auto"
    device: str = "auto"
    kernel: Kernel = "auto"
    packed: bool | Literal["auto"] = "auto"
    linears: Linears = "auto"
    batch_tokens: int | Literal["auto"] = "auto"
    four_bit: bool = False
    remote_code: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.batch_tokens != "auto" and self.batch_tokens < 1:
            raise ValueError(
                f"batch_tokens is {self.batch_tokens}; it is a number of tokens, 1 or more, or auto"
            )
        if "/" not in self.name:
            raise ValueError(
                f"model.name is {self.name!r}, and records need ORG/NAME: write the Hub's whole "
                f"id, or give a name: model.name=ORG/{self.name}"
            )
        for adapter in self.adapters:
            if not Path(adapter).exists():
                raise ValueError(f"{adapter} is no adapter: there is no such folder")
            if not (Path(adapter) / "adapter_config.json").is_file():
                raise ValueError(f"{adapter} is no adapter: it has no adapter_config.json")
        resolve_kernels(self.kernel, self.device, resolve_dtype(self.dtype, self.device))


@dataclass
class Backbone:
    """A loaded model in evaluation mode and what evaluation must know of it.

    identity: what tells its vectors from another's (weights, adapters, dtype).
    choices: how it runs (device, kernel, ...), which may change speed and the last digits only.
    attentions: those that the probe found obeyed.
    refused: why not, for each of the other attentions.
    packed: the attentions under which sequences may be packed; form: how (packed.py).
    left_over: names of the checkpoint's tensors that the model has no use for (a head's).
    pooler: what the last adapter brings to pool with, if it was trained with one (pooler.py).
    """

    model: Any
    tokenizer: Any
    identity: dict[str, Any]
    choices: dict[str, Any]
    num_layers: int
    max_positions: int | None
    batch_tokens: int
    attentions: frozenset[Attention] = field(default_factory=frozenset)
    packed: frozenset[Attention] = field(default_factory=frozenset)
    form: Form = "groups"
    pooler: Pooler | None = None
    refused: dict[Attention, str] = field(default_factory=dict)
    left_over: tuple[str, ...] = ()

    @property
    def linear_weights(self) -> int:
        """Weights of the linear layers: a token costs about twice as many operations. Not counted:
        attention over the text, and experts that are one tensor."""
        layers = [m for m in self.model.modules() if hasattr(m, "in_features")]
        return sum(layer.in_features * layer.out_features for layer in layers)

    def limit_batches(self, tokens: int) -> None:
        """From now on, batches of at most so many tokens; said in the log and in `choices`."""
        self.batch_tokens = self.choices["batch_tokens"] = max(tokens, 1)
        log.warning("out of memory: batches of %d tokens from now on", self.batch_tokens)

    def require(self, attention: Attention) -> None:
        """Refuse, by name, an attention that the probe did not find obeyed."""
        if attention not in self.attentions:
            can = ", ".join(sorted(self.attentions)) or "neither"
            raise ValueError(
                f"attention={attention} does not work on {type(self.model).__name__} with kernel "
                f"{self.choices['kernel']}: {self.refused.get(attention, 'it was not tried')}. "
                f"This model can: {can}. Try model.kernel=eager or another model."
            )


def load_backbone(spec: BackboneSpec) -> Backbone:
    """The model a spec names, ready to embed. The last one asked for stays loaded."""
    with LOADING:
        return _load(_Key(spec))


def peek(spec: BackboneSpec) -> tuple[Checkpoint, Any]:
    """A spec's checkpoint and transformers config, without loading weights."""
    checkpoint = spec.source.fetch()
    return checkpoint, load_config(checkpoint, spec.remote_code)


class _Key:
    """A spec as a cache key: equal when every field is, and the files it names are the same."""

    def __init__(self, spec: BackboneSpec) -> None:
        self.spec, self.text = spec, f"{spec!r} {identity(spec)}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


@lru_cache(maxsize=1)  # two 7B models would not fit a GPU; a sweep goes model by model
def _load(key: _Key) -> Backbone:
    return build_backbone(key.spec)


def build_backbone(spec: BackboneSpec) -> Backbone:
    """A model of its own, shared with nobody: for those who change it, as training does."""
    disable_progress_bar()  # weights load in a blink; what takes time has a bar of its own
    device = resolve_device(spec.device)
    dtype = resolve_dtype(spec.dtype, spec.device)
    kernels = resolve_kernels(spec.kernel, spec.device, dtype)
    checkpoint, config = peek(spec)
    tokenizer = load_tokenizer(checkpoint, spec)
    with LOADING:
        model, kernel, left_over = load_weights(checkpoint, config, spec, dtype, kernels)
    adapters = chained(spec.adapters)
    refuse_other_base(adapters, checkpoint.fingerprint, files=checkpoint.files)
    for adapter in adapters:
        model, tokenizer = merge_adapter(model, tokenizer, adapter)
    check_finite(model, spec.name)
    check_vocabulary(model, tokenizer, spec.name)
    model = (model if spec.four_bit else model.to(device)).eval().requires_grad_(False)
    linears = prepack(model, spec.linears)
    if device == "cpu":
        keep_freed_memory()
    refused, kernel = _probe(model, kernels[kernels.index(kernel) :])
    attentions = frozenset(a for a in get_args(Attention) if a not in refused)
    form = attention_form(device, kernel)
    packed = _packed(model, spec, attentions, kernel, form)
    batch_tokens = resolve_batch_tokens(spec.batch_tokens, device)
    choices = {
        "device": device,
        "kernel": kernel,
        "packed": sorted(packed),
        "linears": linears,
        "batch_tokens": batch_tokens,
        "threads": torch.get_num_threads(),
    }
    log.info("loaded %s: %s, %s", spec.name, dtype, choices)
    text_config = config.get_text_config()
    note_loaded(model)
    return Backbone(
        model=model,
        tokenizer=tokenizer,
        identity=identity(spec),
        choices=choices,
        num_layers=text_config.num_hidden_layers,
        max_positions=usable_positions(model),
        batch_tokens=batch_tokens,
        attentions=attentions,
        refused=refused,
        left_over=left_over,
        packed=packed,
        form=form,
        pooler=pooler_of(adapters, text_config, device),
    )


def identity(spec: BackboneSpec) -> dict[str, Any]:
    """What tells a backbone's vectors from another's, known without loading its weights."""
    checkpoint = spec.source.fetch()
    files = {} if checkpoint.files is None else {"files": checkpoint.files}
    return {
        "name": spec.name,
        "weights": checkpoint.fingerprint,
        **files,
        "adapters": [adapter_digest(adapter) for adapter in chained(spec.adapters)],
        "dtype": ("nf4_" if spec.four_bit else "") + resolve_dtype(spec.dtype, spec.device),
    }


def _probe(model: Any, kernels: Sequence[str]) -> tuple[dict[Attention, str], str]:
    """The attentions a model does not obey, with the reasons, under the first kernel where these
    are fewest."""
    found: dict[str, dict[Attention, str]] = {}
    for kernel in kernels:
        if len(kernels) > 1:
            model.set_attn_implementation(kernel)
        reasons = {attention: disobeys(model, attention) for attention in get_args(Attention)}
        found[kernel] = {attention: why for attention, why in reasons.items() if why}
        if not found[kernel]:
            return {}, kernel
    best = min(found, key=lambda kernel: len(found[kernel]))
    if len(kernels) > 1:
        model.set_attn_implementation(best)
    for attention, why in found[best].items():
        log.info(  # whoever asks for it is told by an error
            "%s cannot attend with attention=%s under %s: %s",
            type(model).__name__,
            attention,
            best,
            why,
        )
    return found[best], best


def _packed(
    model: Any, spec: BackboneSpec, attentions: frozenset[Attention], kernel: str, form: Form
) -> frozenset[Attention]:
    """The attentions under which packed rows are what rows alone are, where packing is wanted.

    kernel=eager asked for by name is the reference and stays padded.
    """
    if spec.packed is False or (spec.packed == "auto" and spec.kernel == "eager"):
        return frozenset()
    found: frozenset[Attention] = frozenset(a for a in attentions if packs(model, a, form))
    if found != attentions:
        can = f"packed: {', '.join(sorted(found)) or 'neither attention'}"
        if spec.packed is True:
            raise ValueError(
                f"packed=true, but rows of {type(model).__name__} in packed sequences are not what "
                f"they are alone ({can}); use kernel.packed=auto"
            )
        log.info("%s is padded; %s", type(model).__name__, can)
    return found
