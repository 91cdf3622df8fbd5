"""Merge a LoRA folder into a model exactly as PEFT would, whichever model class it was saved from.

Adapters are saved from the inner model (LLM2Vec) or from a model with a head (Echo, PromptEOL,
RepLLaMA, every tutorial with task_type="CAUSAL_LM"); the latter's tensor names begin with the inner
model's place in it: `model.`, `transformer.`, `gpt_neox.`. The place is found from the names in the
file, and the inner model is wrapped in a stand-in at that place while PEFT works, so that all names
and patterns of adapter_config.json mean what they meant in training. Tensors outside the inner
model (a head's) are not used, and logged.

That the adapter fits the model is verified: every tensor that the config asks for is in the file,
and every tensor of the file has its place in the model.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from methods.backbone.adapters import add_biases
from methods.backbone.lora_folder import read_lora_config, read_weights
from methods.backbone.structure import is_out_of_memory
from methods.backbone.verify import format_fraction

log = logging.getLogger(__name__)
# What PEFT's own names begin with, and heads that were saved along with an inner model.
PEFT_PREFIX = "base_model.model."
HEADS = ("lm_head", "embed_out", "score", "classifier", "qa_outputs", "cls", "v_head")


def merge_adapter(
    model: Any, tokenizer: Any, adapter: str, *, merge: bool = True
) -> tuple[Any, Any]:
    """Return the model with an adapter folder merged in, and the tokenizer with its added tokens.

    merge: false: the adapter stays beside the weights, where it can be switched off.
    Raises ValueError for a folder without safetensors, for a tuner that cannot be merged, for an
    adapter of another architecture or size, and for a file that is cut short or lacks tensors.
    """
    from peft import get_peft_model

    folder = Path(adapter)
    config, made_for = read_lora_config(folder)
    weights = read_weights(folder)
    if not merge:
        _refuse_unswitchable(config, folder)
    misfit = _describe_misfit(folder, model, made_for)
    tokenizer = _load_own_tokenizer(folder, tokenizer)
    if config.bias == "all":
        add_biases(model, _list_biased(weights, model))
    place = _find_place(weights, model)
    state = _select_inner(weights, place, model, folder)
    _resize(model, tokenizer, state, place, config, folder)
    outer = _Outer(model, place) if place else model
    _drop_heads(config, outer, folder)
    try:
        with quiet_peft():
            wrapped = get_peft_model(outer, config)
        _load(wrapped, state, misfit)
        merged: Any = wrapped.merge_and_unload() if merge else outer
    except (ValueError, RuntimeError, KeyError) as error:
        if is_out_of_memory(error) or str(error).startswith(misfit):
            raise
        raise ValueError(f"{misfit}: {' '.join(str(error).split())[:400]}") from error
    log.info("merged %s" if merge else "%s is computed beside the weights", folder)
    return (merged.get_submodule(place) if place else merged), tokenizer


def _refuse_unswitchable(config: Any, folder: Path) -> None:
    """Raise ValueError for an adapter that changes more than it adds to linear layers."""
    changed = {
        "bias": config.bias != "none",
        "modules_to_save": bool(config.modules_to_save),
        "trainable_token_indices": bool(config.trainable_token_indices),
    }
    if named := [name for name, used in changed.items() if used]:
        raise ValueError(
            f"{folder} cannot be switched off, since it replaces parts of the model (its "
            f"{', '.join(named)}); leave merge_adapters=False out, and it is merged"
        )


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Hide the warning about an attribute that PEFT reads and transformers will remove."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.* is deprecated")
        yield


class _Outer(nn.Module):
    """A stand-in for what an adapter was saved from: it holds the inner model at its place."""

    def __init__(self, inner: Any, place: str) -> None:
        super().__init__()
        self.config, self._place = inner.config, place
        *path, last = place.split(".")
        holder: nn.Module = self
        for name in path:
            holder.add_module(name, nn.Module())
            holder = holder.get_submodule(name)
        holder.add_module(last, inner)

    def get_input_embeddings(self) -> nn.Module:
        inner: Any = self.get_submodule(self._place)
        return inner.get_input_embeddings()

    def get_output_embeddings(self) -> None:
        return None


def _find_place(weights: Iterable[str], model: Any) -> str:
    """Return the model's place in what the adapter was saved from: `model`, or "" for itself.

    Where no tensor has one of the model's names, its usual place in a model with a head.
    """
    modules = {name for name, _ in model.named_modules() if name}
    found: Counter[str] = Counter()
    for name in weights:
        parts = name.removeprefix(PEFT_PREFIX).split(".")
        if any(part in HEADS for part in parts):
            continue
        starts = range(len(parts))
        ends = range(len(parts), 0, -1)
        hits = (i for end in ends for i in starts if i < end and ".".join(parts[i:end]) in modules)
        if (start := next(hits, None)) is not None:
            found[".".join(parts[:start])] += 1
    return found.most_common(1)[0][0] if found else model.base_model_prefix


def _select_inner(
    weights: Mapping[str, Tensor], place: str, model: nn.Module, folder: Path
) -> dict[str, Tensor]:
    """Return the adapter's tensors under PEFT's names, without those outside the inner model."""
    own = {name for name, _ in model.named_children()}
    inside, beside = {}, []
    for name, tensor in weights.items():
        short = name.removeprefix(PEFT_PREFIX)
        first = short.split(".")[0]
        if place and not short.startswith(place + ".") and first not in own:
            beside.append(short)
        elif not place and first in HEADS and first not in own:
            beside.append(short)
        else:
            inside[PEFT_PREFIX + short] = tensor
    if beside:
        log.warning(
            "%s: %d tensors belong to a head, which embeddings do not use: %s",
            folder,
            len(beside),
            ", ".join(beside[:3]),
        )
    return inside


def _drop_heads(config: Any, outer: nn.Module, folder: Path) -> None:
    """Remove modules that only a head has from a config."""
    names = [name for name, _ in outer.named_modules()]

    def exists(module: str) -> bool:
        return any(name.endswith(module) for name in names)  # as PEFT asks

    if config.modules_to_save:
        gone = [module for module in config.modules_to_save if not exists(module)]
        config.modules_to_save = [m for m in config.modules_to_save if m not in gone] or None
        if gone:
            log.info("%s: modules_to_save %s are not in this model and ignored", folder, gone)
    if isinstance(config.trainable_token_indices, dict):
        rows = config.trainable_token_indices
        config.trainable_token_indices = {m: i for m, i in rows.items() if exists(m)} or None


def _load_own_tokenizer(folder: Path, tokenizer: Any) -> Any:
    from transformers import AutoTokenizer

    if not (folder / "tokenizer.json").is_file():
        return tokenizer
    own = AutoTokenizer.from_pretrained(folder)
    own.name_or_path, own.model_max_length = tokenizer.name_or_path, tokenizer.model_max_length
    return own


def _resize(
    model: Any, tokenizer: Any, state: Mapping[str, Tensor], place: str, config: Any, folder: Path
) -> None:
    """Resize the input embeddings to the adapter's rows, or to its tokenizer's tokens."""
    embeddings = model.get_input_embeddings()
    name = next(name for name, module in model.named_modules() if module is embeddings)
    prefix = f"{PEFT_PREFIX}{place}.{name}." if place else f"{PEFT_PREFIX}{name}."
    saved = None  # rows of the embeddings that the adapter was trained with, if its file shows them
    for key, tensor in state.items():
        if key.startswith(prefix) and tensor.ndim == 2:
            if key.endswith(".lora_embedding_A"):
                saved = tensor.shape[1]
            elif key.endswith(".weight") and tensor.shape[1] == embeddings.embedding_dim:
                saved = tensor.shape[0]
    before = embeddings.num_embeddings
    after = saved or max(before, len(tokenizer))
    if after == before:
        return
    whole = any(key.startswith(prefix) and key.endswith(".weight") for key in state)
    trained = config.trainable_token_indices or []
    trained = set(trained if isinstance(trained, list) else sum(trained.values(), []))
    covered = whole or set(range(before, after)) <= trained
    log.info("%s: input embeddings resized from %d to %d rows", folder, before, after)
    if not covered:
        log.warning(
            "%s has no embedding rows for the tokens %d to %d: they are drawn around the mean of "
            "the others, the same at every load",
            folder,
            before,
            after - 1,
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the draw of training, for rows that it does not train
        model.resize_token_embeddings(after, mean_resizing=not covered)


def _load(wrapped: Any, state: dict[str, Tensor], misfit: str) -> None:
    """Load an adapter's tensors. Raises ValueError unless file and model have the same tensors."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    every = wrapped.state_dict()
    saved = get_peft_model_state_dict(wrapped, state_dict=every, save_embedding_layers=False)
    own = {id(tensor) for tensor in saved.values()}
    wanted = {name for name, tensor in every.items() if id(tensor) in own}
    sizes = {
        name: (list(state[name].shape), list(t.shape)) for name, t in saved.items() if name in state
    }
    if other := sorted(name for name, (has, needs) in sizes.items() if has != needs):
        has, needs = sizes[other[0]]
        raise ValueError(
            f"{misfit}: {len(other)} of {len(saved)} tensors have another shape, first: {other[0]} "
            f"is {has}, this model and adapter_config.json make it {needs}"
        )
    lacking = sorted(name for name in saved if name not in state)
    if not any(".lora_" not in name for name in lacking):
        result = set_peft_model_state_dict(wrapped, state)
        if result.unexpected_keys:
            left = sorted(result.unexpected_keys)
            raise ValueError(
                f"{misfit}: {format_fraction(left, len(state))} of its file are not in this model"
            )
        lacking = sorted(name for name in result.missing_keys if name in wanted)
    if lacking:
        raise ValueError(
            f"{misfit}: its file lacks {format_fraction(lacking, len(saved))} by its config; save "
            f"it again, from the model it was trained with"
        )


def _list_biased(weights: Iterable[str], model: nn.Module) -> list[str]:
    """Return the linear layers for which an adapter has a bias."""
    layers = {name for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    named = {name.removesuffix(".bias").removesuffix(".base_layer") for name in weights}
    return [layer for layer in layers if any(name.endswith("." + layer) for name in named)]


def _describe_misfit(folder: Path, model: Any, made_for: str | None) -> str:
    config = model.config.get_text_config()
    made = f"was made for {made_for!r} and " if made_for else ""
    return (
        f"adapter {folder} {made}does not fit {type(model).__name__} with "
        f"{config.num_hidden_layers} layers of width {config.hidden_size}"
    )
