"""Load the shared model: `load_backbone(spec)` -> Backbone, once per process however many jobs ask.

Choices left to `auto` are made here, logged, and recorded in `Backbone.identity` and `.choices`:
dtype (bfloat16 where the hardware computes in it, else float32), device (CUDA where there is one),
attention kernel (flash_attention_2 on CUDA where installed, sdpa, else eager; the first that the
probe accepts), packed sequences (in the first layout in which a second probe finds them equal to
sequences run alone), linear layers (oneDNN's on a CPU). What is asked for by name and is not
available is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from methods.backbone.adapters import refuse_other_base, stack_adapters
from methods.backbone.changes import remember_loaded
from methods.backbone.checkpoint import Checkpoint
from methods.backbone.hardware import (
    AttentionKernel,
    Dtype,
    free_memory,
    list_packed_layouts,
    resolve_batch_tokens,
    resolve_device,
    resolve_dtype,
    resolve_kernels,
    warn_of_unused_card,
)
from methods.backbone.linears import Linears, keep_freed_memory, prepack
from methods.backbone.locks import LOADING
from methods.backbone.merge import merge_adapter
from methods.backbone.packed_batch import PackedLayout
from methods.backbone.probes import choose_kernel, choose_packed
from methods.backbone.sources import ModelSource
from methods.backbone.structure import measure_positions
from methods.backbone.trained_pooling import TrainedPooling, load_last_trained_pooling
from methods.backbone.verify import check_finite, check_vocabulary
from methods.backbone.weights import load_tokenizer, load_weights, read_model_config
from methods.base import Attention
from methods.fields import check_fields
from methods.identity import digest_adapter

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """A model as its YAML names it. name: `org/name` in records. adapters: PEFT folders, merged in
    order.

    packed: whether sequences are packed instead of padded.
    linears: linear layers, `onednn` (on a CPU) or `torch`.
    batch_tokens: tokens a batch may have (padded ones where it is padded), or `auto`.
    four_bit: the weights in 4 bits (bitsandbytes' nf4, CUDA only), as QLoRA is trained.
    remote_code: run code from the checkpoint's repository; off unless asked for by name.
    merge_adapters: false: an adapter is computed beside the weights, so that it can be switched off
    (generation.py); vectors then differ from merged ones in their last digits.
    """

    name: str
    source: ModelSource
    adapters: tuple[str, ...] = ()
    dtype: Dtype = "auto"
    device: str = "auto"
    kernel: AttentionKernel = "auto"
    packed: bool | Literal["auto"] = "auto"
    linears: Linears = "auto"
    batch_tokens: int | Literal["auto"] = "auto"
    four_bit: bool = False
    remote_code: bool = False
    merge_adapters: bool = True

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
    """A loaded model in evaluation mode and what is known of it.

    identity: what distinguishes its vectors from another's (weights, adapters, dtype).
    choices: how it runs (device, kernel, ...), which may change speed and the last digits only.
    attentions: those that the probe found supported.
    refused: the reason for each attention that is not.
    packed: the attentions under which sequences are packed; packed_layout: how (packed_batch.py).
    left_over: names of the checkpoint's tensors that the model does not use (a head's).
    trained_pooling: the last adapter's, if it was trained with one (trained_pooling.py).
    autocast: the half precision that a model in training computes in, whose trained parts are
    float32; None for a model as it was loaded.
    spec: what it was loaded from.
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
    packed_layout: PackedLayout = "groups"
    trained_pooling: TrainedPooling | None = None
    refused: dict[Attention, str] = field(default_factory=dict)
    left_over: tuple[str, ...] = ()
    autocast: str | None = None
    spec: BackboneSpec | None = None

    def generate(self, prompts: Sequence[str], **options: Any) -> list[str]:
        """Return what the model writes after each prompt, over the same weights (generation.py).

        options: max_new_tokens, temperature, seed, chat, adapters.
        """
        from methods.backbone.generation import generate  # transformers' generation is heavy

        return generate(self, prompts, **options)

    @property
    def linear_weights(self) -> int:
        """Return the number of weights in linear layers: a token costs about twice as many
        operations. Not counted: attention over the text, and experts that are one tensor."""
        every = [m for m in self.model.modules() if hasattr(m, "in_features")]
        layers = [m for m in every if not hasattr(m, "base_layer")]  # of an adapter: its parts
        return sum(layer.in_features * layer.out_features for layer in layers)

    def limit_batches(self, tokens: int) -> None:
        """Limit batches to so many tokens from now on; logged, and recorded in `choices`."""
        self.batch_tokens = self.choices["batch_tokens"] = max(tokens, 1)
        log.warning("out of memory: batches of %d tokens from now on", self.batch_tokens)

    def require_attention(self, attention: Attention) -> None:
        """Raise ValueError for an attention that the probe did not find supported."""
        if attention not in self.attentions:
            valid = ", ".join(sorted(self.attentions)) or "neither"
            raise ValueError(
                f"attention={attention} does not work on {type(self.model).__name__} with kernel "
                f"{self.choices['kernel']}: {self.refused.get(attention, 'it was not tested')}. "
                f"Valid for this model: {valid}. Try model.kernel=eager or another model."
            )


def load_backbone(spec: BackboneSpec) -> Backbone:
    """Return the model a spec names, ready to embed. The last one asked for stays loaded."""
    with LOADING:
        return _load(_Key(spec))


def load_config(spec: BackboneSpec) -> tuple[Checkpoint, Any]:
    """Return a spec's checkpoint and transformers config, without loading weights."""
    checkpoint = spec.source.fetch()
    return checkpoint, read_model_config(checkpoint, spec.remote_code)


class _Key:
    """A spec as a cache key: equal when every field is, and the files it names are the same."""

    def __init__(self, spec: BackboneSpec) -> None:
        self.spec, self.text = spec, f"{spec!r} {identify_backbone(spec)}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


@lru_cache(maxsize=1)  # a sweep goes model by model
def _load(key: _Key) -> Backbone:
    return build_backbone(key.spec)


def _release_loaded() -> None:
    """Drop the shared model and give its memory back, unless a caller still holds it."""
    if _load.cache_info().currsize:
        _load.cache_clear()
        free_memory()


def build_backbone(spec: BackboneSpec) -> Backbone:
    """Load a model that is not shared, for callers that change it, as training does.

    The shared one is dropped before: a card has room for one.
    """
    _release_loaded()
    device = resolve_device(spec.device)
    dtype = resolve_dtype(spec.dtype, spec.device)
    kernels = resolve_kernels(spec.kernel, spec.device, dtype)
    if (spec.device, device) == ("auto", "cpu"):
        warn_of_unused_card()
    checkpoint, config = load_config(spec)
    tokenizer = load_tokenizer(checkpoint, spec)
    with LOADING:
        model, kernel, left_over = load_weights(checkpoint, config, spec, dtype, kernels)
    adapters = stack_adapters(spec.adapters)
    if len(adapters) > 1 and not spec.merge_adapters:
        names = ", ".join(Path(adapter).name for adapter in adapters)
        raise ValueError(
            f"merge_adapters=False takes one adapter, and these are {len(adapters)}: {names}; "
            f"parents in below/ count. Leave it out, and they are merged"
        )
    refuse_other_base(adapters, checkpoint.fingerprint, files=checkpoint.files)
    for adapter in adapters:
        model, tokenizer = merge_adapter(model, tokenizer, adapter, merge=spec.merge_adapters)
    check_finite(model, spec.name)
    check_vocabulary(model, tokenizer, spec.name)
    model = (model if spec.four_bit else model.to(device)).eval().requires_grad_(False)
    linears = prepack(model, spec.linears)
    if device == "cpu":
        keep_freed_memory()
    refused, kernel = choose_kernel(model, kernels[kernels.index(kernel) :])
    attentions = frozenset(a for a in get_args(Attention) if a not in refused)
    layouts = list_packed_layouts(device, dtype, spec.kernel)
    # kernel=eager asked for by name is the reference and stays padded
    wish = False if (spec.packed, spec.kernel) == ("auto", "eager") else spec.packed
    packed, layout = choose_packed(model, attentions, layouts=layouts, wish=wish)
    batch_tokens = resolve_batch_tokens(spec.batch_tokens, device)
    choices = {
        "device": device,
        "kernel": kernel,
        "packed": sorted(packed),
        "linears": linears,
        "batch_tokens": batch_tokens,
        "threads": torch.get_num_threads(),
        **({"packed_layout": layout} if packed and device != "cpu" else {}),
    }
    log.info("loaded %s: %s, %s", spec.name, dtype, choices)
    text_config = config.get_text_config()
    remember_loaded(model)
    return Backbone(
        model=model,
        tokenizer=tokenizer,
        identity=identify_backbone(spec),
        choices=choices,
        num_layers=text_config.num_hidden_layers,
        max_positions=measure_positions(model),
        batch_tokens=batch_tokens,
        attentions=attentions,
        refused=refused,
        left_over=left_over,
        packed=packed,
        packed_layout=layout,
        trained_pooling=load_last_trained_pooling(adapters, text_config, device),
        spec=spec,
    )


def identify_backbone(spec: BackboneSpec) -> dict[str, Any]:
    """Return what distinguishes a backbone's vectors from another's; its weights are not loaded."""
    checkpoint = spec.source.fetch()
    files = {} if checkpoint.files is None else {"files": checkpoint.files}
    return {
        "name": spec.name,
        "weights": checkpoint.fingerprint,
        **files,
        "adapters": [digest_adapter(adapter) for adapter in stack_adapters(spec.adapters)],
        "dtype": ("nf4_" if spec.four_bit else "") + resolve_dtype(spec.dtype, spec.device),
        **({"merged": False} if spec.adapters and not spec.merge_adapters else {}),
    }
