"""Generate text with the model that embeds: the same weights, with its language-model head.

transformers' own `generate` runs on its class with a head, built without weights around the loaded
model, so nothing is loaded twice. Attention is causal, whatever a method embeds with, and keys and
values are cached. The model is locked for a batch, and afterwards it is as it was.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from methods.backbone.attention import attention_mode
from methods.backbone.batches import make_batches
from methods.backbone.head import load_head
from methods.backbone.locks import get_lock
from methods.backbone.weights import read_model_config
from methods.tokens import added_by, check_texts

if TYPE_CHECKING:
    from methods.backbone.loader import Backbone, BackboneSpec

log = logging.getLogger(__name__)


def generate(
    backbone: Backbone,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
    chat: bool = False,
    adapters: bool = True,
) -> list[str]:
    """Return what the model writes after each prompt, without special tokens.

    temperature: 0 takes the likeliest token; above it tokens are drawn, the same for one seed and
        the same prompts. chat: whether prompts are put into the tokenizer's chat template.
    adapters: false for the model without them, which needs merge_adapters=False at load.
    Raises ValueError for a model that has no head or does not attend causally, and for a prompt
    that leaves no position to write at.
    """
    found = generate_ids(
        backbone,
        encode_prompts(backbone.tokenizer, prompts, chat=chat),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        adapters=adapters,
    )
    return backbone.tokenizer.batch_decode(found, skip_special_tokens=True)


def encode_prompts(tokenizer: Any, prompts: Sequence[str], *, chat: bool) -> list[list[int]]:
    """Return the ids of prompts: with what the tokenizer puts before a text, and nothing after."""
    texts = check_texts(prompts)
    if not chat:
        before = list(added_by(tokenizer)[0])
        return [before + ids for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            f"the tokenizer of {tokenizer.name_or_path!r} has no chat template; use chat=False"
        )
    return [
        tokenizer(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
            ),
            add_special_tokens=False,
        )["input_ids"]
        for text in texts
    ]


def generate_ids(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    adapters: bool = True,
) -> list[list[int]]:
    """Return the token ids written after each prompt's, up to an EOS token or max_new_tokens."""
    _check_numbers(max_new_tokens, temperature)
    backbone.require_attention("causal")
    if not adapters:
        _require_switchable(backbone)
    limit = backbone.max_positions
    for place, ids in enumerate(prompts):
        if not ids:
            raise ValueError(f"prompt {place} has no token; give a text")
        if limit is not None and len(ids) + max_new_tokens > limit:
            raise ValueError(
                f"prompt {place} has {len(ids)} tokens, and {max_new_tokens} more do not fit into "
                f"the model's {limit} positions; shorten it, or lower max_new_tokens"
            )
    whole, settings = _get_language_model(backbone)
    settings = _choose_tokens(settings, backbone.tokenizer, max_new_tokens, temperature)
    found: dict[int, list[int]] = {}
    devices = [] if backbone.choices["device"] == "cpu" else [backbone.choices["device"]]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        lengths = [len(ids) + max_new_tokens for ids in prompts]
        for rows in make_batches(lengths, backbone.batch_tokens, packed=False):
            written = _run(backbone, whole, settings, [prompts[row] for row in rows], adapters)
            found |= dict(zip(rows, written, strict=True))
    return [found[row] for row in range(len(prompts))]


def _check_numbers(max_new_tokens: int, temperature: float) -> None:
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; it is 1 or more")
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature is {temperature}; it is 0 or more, and finite")


def _require_switchable(backbone: Backbone) -> None:
    """Raise ValueError unless adapters can be switched off: there are none, or they stand apart."""
    merged = backbone.identity.get("merged", True)
    if backbone.identity["adapters"] and merged:
        raise ValueError(
            "adapters=False: the adapters of this model were merged into its weights, which no "
            "longer have a part without them; load it with merge_adapters=False "
            "(+model.merge_adapters=false), where they can be switched off and on"
        )


def _get_language_model(backbone: Backbone) -> tuple[Any, Any]:
    """Return the model with its head and its generation settings, built when first asked for."""
    held = vars(backbone)
    with get_lock(backbone.model):
        if "_language_model" not in held:
            if backbone.spec is None:
                raise ValueError("this backbone does not know its checkpoint; use load_backbone")
            held["_language_model"] = _build_language_model(backbone, backbone.spec)
    return held["_language_model"]


def _build_language_model(backbone: Backbone, spec: BackboneSpec) -> tuple[Any, Any]:
    """Build transformers' class with a head around the loaded model; no weight is copied.

    Raises ValueError for an architecture that has none, or keeps its model elsewhere.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig

    checkpoint = spec.source.fetch()
    config = read_model_config(checkpoint, spec.remote_code)
    model, name = backbone.model, type(backbone.model).__name__
    try:
        with torch.device("meta"):
            whole: Any = AutoModelForCausalLM.from_config(
                copy.deepcopy(config), trust_remote_code=spec.remote_code
            )
    except ValueError as error:
        raise ValueError(f"{name} cannot generate: {str(error)[:200]}") from error
    place, output = whole.base_model_prefix, whole.get_output_embeddings()
    if type(getattr(whole, place, None)) is not type(model) or output is None:
        raise ValueError(f"{name} cannot generate: {type(whole).__name__} holds no {name}")
    if getattr(output, "bias", None) is not None:
        raise ValueError(f"{name} cannot generate: its head has a bias, which is not loaded")
    output.weight = nn.Parameter(load_head(spec, backbone), requires_grad=False)
    whole.eval()  # before the loaded model is in it, whose modules stay as they are
    setattr(whole, place, model)
    whole.config = model.config
    left = [n for n, p in whole.named_parameters() if p.is_meta]
    if left:
        raise ValueError(f"{name} cannot generate: {', '.join(left[:3])} of its head are not known")
    settings = GenerationConfig.from_model_config(model.config)
    if checkpoint.weights is None:
        try:
            settings = GenerationConfig.from_pretrained(
                checkpoint.location, revision=checkpoint.revision or "main"
            )
        except OSError:  # the checkpoint brings none
            pass
    return whole, settings


def _choose_tokens(settings: Any, tokenizer: Any, max_new_tokens: int, temperature: float) -> Any:
    """Return generation settings: the checkpoint's, but for what was asked for."""
    settings = copy.deepcopy(settings)
    eos = settings.eos_token_id
    ends = {*(eos if isinstance(eos, list) else [eos]), tokenizer.eos_token_id} - {None}
    settings.eos_token_id = sorted(ends) or None
    pads = (tokenizer.pad_token_id, settings.pad_token_id, *sorted(ends), 0)
    settings.pad_token_id = next(pad for pad in pads if pad is not None)
    settings.max_new_tokens, settings.max_length = max_new_tokens, None
    settings.do_sample = temperature > 0
    settings.use_cache = True
    settings.temperature = temperature or None
    if temperature == 0:
        settings.top_p = settings.top_k = None
    return settings


def _run(
    backbone: Backbone, whole: Any, settings: Any, prompts: Sequence[Sequence[int]], adapters: bool
) -> list[list[int]]:
    """Return what is written after prompts that are padded on their left."""
    model, longest = backbone.model, max(map(len, prompts))
    device = model.get_input_embeddings().weight.device
    pads = [longest - len(ids) for ids in prompts]
    ids_BL = torch.tensor(
        [[settings.pad_token_id] * pad + list(ids) for pad, ids in zip(pads, prompts, strict=True)],
        device=device,
    )
    mask_BL = torch.tensor([[0] * pad + [1] * (longest - pad) for pad in pads], device=device)
    with get_lock(model), attention_mode(model, "causal"), switched(model, adapters):
        written_BL: Tensor = whole.generate(
            input_ids=ids_BL, attention_mask=mask_BL, generation_config=settings
        )
    ends = set(settings.eos_token_id or [])
    return [_cut(row[longest:].tolist(), ends) for row in written_BL]


def _cut(ids: list[int], ends: set[int]) -> list[int]:
    """Return ids up to the first EOS token, without it."""
    return ids[: next((place for place, id in enumerate(ids) if id in ends), len(ids))]


@contextmanager
def switched(model: nn.Module, on: bool) -> Iterator[None]:
    """Switch adapters that were not merged off for this block, unless `on`."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [] if on else [m for m in model.modules() if isinstance(m, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
            layer.requires_grad_(False)  # which switching on sets
