"""Verify that weights were loaded: none missing, none of the body unused, all finite.

transformers loads what fits and draws the rest at random, with one line in the log. Here that is an
error. A missing tensor is harmless only if the states do not depend on it, which is tested: filled
with NaN, it leaves the states finite (BERT's pooler). An unused tensor is harmless only if it lies
outside the body (a head), or if the model computes it itself (an old checkpoint's masks).
"""

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from methods.backbone.structure import find_decoder_layers, is_out_of_memory

log = logging.getLogger(__name__)
WRAPPED = (
    ("_orig_mod", "torch.compile"),
    ("_fsdp_wrapped_module", "FSDP"),
    ("module", "DataParallel"),
)
WRAPPERS = {*dict(WRAPPED), "base_model", "model"}
HEADS = {"lm_head", "embed_out", "score", "classifier", "qa_outputs", "cls", "v_head"}
# Buffers that older transformers saved with the weights and this one computes.
COMPUTED = re.compile(
    r"(attn|attention)\.(bias|masked_bias|causal_mask)$|inv_freq$|position_ids$|\.version$"
)


def format_fraction(names: Sequence[str], of: int) -> str:
    """Return `3 of 9 tensors, first: a, b`."""
    return f"{len(names)} of {of} tensors, first: {', '.join(names[:2])}"


def check_loaded(model: Any, found: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Raise ValueError unless weights filled the model's body exactly.

    found: transformers' `output_loading_info`. where: the checkpoint's name, for the message.
    Returns the names of unused tensors, all of them outside the body.
    """
    every = len(model.state_dict())
    left = sorted(found["unexpected_keys"])
    foreign = [name for name in left if _is_of_body(name, model)]
    mismatched = sorted(found["mismatched_keys"])
    missing = sorted(found["missing_keys"])
    faults = []
    if missing and (read := _list_needed(model, missing)):
        faults.append(f"lacks {format_fraction(read, every)}")
    if foreign:
        faults.append(f"has no place for {format_fraction(foreign, every + len(foreign))}")
    if mismatched:
        name, has, needs = mismatched[0]
        faults.append(
            f"has {len(mismatched)} of {every} tensors of another shape, first: {name} is "
            f"{list(has)}, the config says {list(needs)}"
        )
    if faults:
        faults += [f"left over are {len(left)}, first: {left[0]}"] if left and not foreign else []
        raise ValueError(
            f"the weights of {where} do not fill {type(model).__name__}: this checkpoint "
            f"{'; '.join(faults)}. {_advise(left, mismatched)}"
        )
    if missing:
        log.info("%s lacks %s, which no state depends on", where, format_fraction(missing, every))
    if left:
        log.info("%s: %d tensors are not used, first: %s", where, len(left), left[0])
    return tuple(left)


def check_finite(model: nn.Module, where: str) -> None:
    """Raise ValueError for weights that are not finite in the dtype they are loaded in."""
    bad = [name for name, tensor in model.named_parameters() if not _is_finite(tensor)]
    if bad:
        number = sum(1 for _ in model.named_parameters())
        dtype = model.get_parameter(bad[0]).dtype
        raise ValueError(
            f"{where}: {format_fraction(bad, number)} hold values that are not finite in {dtype}; "
            f"fetch or save the weights again, or load them in another model.dtype"
        )


def check_vocabulary(model: Any, tokenizer: Any, where: str) -> None:
    """Raise ValueError for a tokenizer with tokens that the embeddings have no row for."""
    rows = model.get_input_embeddings().num_embeddings
    size = max(tokenizer.get_vocab().values(), default=-1) + 1
    if size > rows:
        raise ValueError(
            f"{where}: the tokenizer's vocabulary has {size} tokens, the input embeddings have "
            f"{rows} rows; give the tokenizer that the weights were trained with"
        )


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel() or tensor.dtype.itemsize < 2:
        return True  # packed in 4 or 8 bits: cannot be checked here
    low, high = tensor.detach().aminmax()
    return bool(low.isfinite() and high.isfinite())


def _is_of_body(name: str, model: Any) -> bool:
    """Return whether an unused tensor is one of the body."""
    parts = name.split(".")
    if HEADS & set(parts):
        return False
    own = {part.split(".")[0] for part in model.state_dict()}
    while parts and parts[0] in {*WRAPPERS, model.base_model_prefix} - own:
        parts = parts[1:]
    if not parts or parts[0] not in own:
        return False
    if COMPUTED.search(name) or _is_buffer(".".join(parts), model):
        return False
    return not _is_of_later_layers(parts, model)


def _is_buffer(name: str, model: nn.Module) -> bool:
    return any(name == buffer for buffer, _ in model.named_buffers())


def _is_of_later_layers(parts: Sequence[str], model: Any) -> bool:
    """Return whether a tensor is of the multi-token-prediction layers after the last (MTP)."""
    config = model.config.get_text_config()
    further = getattr(config, "num_nextn_predict_layers", None) or 0
    layers = config.num_hidden_layers
    numbers = [int(part) for part in parts if part.isdigit()]
    return bool(numbers) and layers <= numbers[0] < layers + further


@torch.inference_mode()
def _list_needed(model: Any, missing: Iterable[str]) -> list[str]:
    """Return the missing tensors that hidden states depend on.

    Those are the tensors of its layers, and any that makes states non-finite once filled with NaN;
    of a model that cannot be run, all.
    """
    names = sorted(missing)
    try:
        prefix = _find_name(model, find_decoder_layers(model)) + "."
    except ValueError:
        return names
    tensors = {name: _find_tensor(model, name) for name in names}
    if any(
        name.startswith(prefix) or tensor is None or not tensor.is_floating_point()
        for name, tensor in tensors.items()
    ):
        return names
    before = {name: tensor.clone() for name, tensor in tensors.items() if tensor is not None}
    kernel = model.config._attn_implementation
    ids = torch.arange(3, 11, device=model.get_input_embeddings().weight.device)[None]
    try:
        model.set_attn_implementation("eager")  # which runs on any device
        found = []
        for name in names:
            _fill(tensors, [name])
            if not model(ids, use_cache=False).last_hidden_state.isfinite().all():
                found.append(name)
            _fill(tensors, [name], before)
        return found
    except Exception as error:
        if is_out_of_memory(error):
            raise
        log.warning("%s could not be tested without them: %s", type(model).__name__, error)
        return names
    finally:
        _fill(tensors, names, before)
        model.set_attn_implementation(kernel)


def _fill(
    tensors: Mapping[str, Tensor | None],
    names: Collection[str],
    values: Mapping[str, Tensor] | None = None,
) -> None:
    for name in names:
        tensor = tensors[name]
        assert tensor is not None
        tensor.fill_(float("nan")) if values is None else tensor.copy_(values[name])


def _find_tensor(model: Any, name: str) -> Tensor | None:
    try:
        return model.get_parameter_or_buffer(name)
    except AttributeError:
        return None


def _find_name(model: nn.Module, module: nn.Module) -> str:
    return next(name for name, part in model.named_modules() if part is module)


def _advise(left: Sequence[str], mismatched: Sequence[Any]) -> str:
    for wrapper, saver in WRAPPED:
        if any(wrapper in name.split(".") for name in left):
            return (
                f"Its names hold `{wrapper}.`, which {saver} adds: save the model inside it "
                f"(`model.{wrapper}.save_pretrained(...)`)."
            )
    if any(0 in has for _, has, _ in mismatched):
        return "An empty tensor is what a sharded training saves that did not gather its weights."
    return "Check that config.json belongs to these weights, and that all shards are here."
