"""PEFT adapters merged into the weights, so that nothing after this knows they were there.

Released adapters were saved around the inner model (LLM2Vec) or around the model with its head
(Echo, PromptEOL, RepLLaMA); the latter's names carry one `model.` more, and the head's own rows
have nothing to do here. Everything else in the file must find its place, or the adapter is
another's.

A folder made by `dec2vec train` also holds what it stands on: `below/` the adapters that were
merged before it, in order, and in training.json the weights it was trained on. Other weights are
refused.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from methods.identity import adapter_digest

log = logging.getLogger(__name__)


def chained(adapters: Sequence[str]) -> list[str]:
    """Adapter folders in the order they are merged, each after those it stands on; none twice."""
    found: dict[str, str] = {}
    for adapter in adapters:
        below = sorted(
            (Path(adapter) / "below").glob("*_*"), key=lambda p: int(p.name.split("_")[0])
        )
        for folder in [*map(str, below), adapter]:
            found.setdefault(adapter_digest(folder), folder)
    return list(found.values())


def refuse_other_base(adapters: Iterable[str], weights: str, *, files: str | None = None) -> None:
    """Raise ValueError for an adapter that says it was trained on other weights.

    files: digest of the model's config and tokenizer; others than in training are logged.
    """
    for adapter in adapters:
        file = Path(adapter) / "training.json"
        base = json.loads(file.read_text(encoding="utf-8"))["base"] if file.is_file() else {}
        if base.get("weights", weights) != weights:
            raise ValueError(
                f"{adapter} was trained on {base['name']} ({base['weights']}), this model is "
                f"{weights}; give the model it was trained on, or train it on this one"
            )
        if base.get("files", files) != files:
            log.warning(
                "%s was trained on these weights with another config.json or tokenizer", adapter
            )


def training_summary(adapter: str) -> dict[str, Any]:
    """What a folder says of its training, for the record; little of one made elsewhere."""
    file = Path(adapter) / "training.json"
    about = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    keys = ("title", "steps", "seconds", "tokens", "data", "best", "command", "commit")
    found = {key: about[key] for key in keys if key in about}
    if "recipe" in about:
        found["learning_rate"] = about["recipe"]["learning_rate"]
        found["pooler"] = (about["recipe"]["trainable"].get("pooler") or {}).get("kind")
    return {"folder": Path(adapter).name, "digest": adapter_digest(adapter), **found}


def add_biases(model: nn.Module, linears: Iterable[str]) -> None:
    """Give linear layers that have no bias one of zeros."""
    for name in linears:
        layer: Any = model.get_submodule(name)
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros(layer.out_features, dtype=layer.weight.dtype))
            layer.bias.data = layer.bias.data.to(layer.weight.device)


def merge_adapter(model: Any, tokenizer: Any, adapter: str) -> tuple[Any, Any]:
    """The model with an adapter folder merged in, and the tokenizer with the tokens it brings.

    Raises ValueError for a folder without safetensors, for an adapter of another architecture or
    size, and for a file that is cut short.
    """
    from peft import PeftConfig, get_peft_model, set_peft_model_state_dict
    from transformers import AutoTokenizer

    folder = Path(adapter)
    weights = _weights(folder)
    if (folder / "tokenizer.json").is_file():
        own = AutoTokenizer.from_pretrained(folder)
        own.name_or_path, own.model_max_length = tokenizer.name_or_path, tokenizer.model_max_length
        tokenizer = own
        if len(own) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(own), mean_resizing=False)
    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = True
    if getattr(config, "bias", "none") == "all":
        add_biases(model, _biased(weights, model))
    try:
        wrapped = get_peft_model(model, config)
        state = _inner_names(weights, wrapped)
        result = set_peft_model_state_dict(wrapped, state)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{_misfit(folder, model, config)}: {str(error)[:400]}") from error
    if result.unexpected_keys:
        raise ValueError(
            f"{_misfit(folder, model, config)}: no place for {result.unexpected_keys[0]}"
        )
    log.info("merging %s", folder)
    return wrapped.merge_and_unload(), tokenizer


def _biased(weights: Iterable[str], model: nn.Module) -> list[str]:
    """The linear layers for which an adapter has a bias."""
    layers = {name for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    named = {name.removesuffix(".bias").removesuffix(".base_layer") for name in weights}
    return [layer for layer in layers if any(name.endswith("." + layer) for name in named)]


def _weights(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        found = ", ".join(sorted(p.name for p in folder.glob("*"))[:8]) or "nothing"
        raise ValueError(
            f"{folder} has no adapter_model.safetensors, it has {found}; "
            f"other formats are not loaded: save the adapter again with PEFT"
        )
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} cannot be read, it may be cut short: {error}") from error


def _inner_names(weights: dict[str, Tensor], wrapped: Any) -> dict[str, Tensor]:
    """Saved weights under the names that a model without a head gives them."""
    own = {name.replace(".default.", ".") for name in wrapped.state_dict()}
    shorter = {n: n.replace("base_model.model.model.", "base_model.model.", 1) for n in weights}
    headed = not own & set(weights) and bool(own & set(shorter.values()))
    names = shorter if headed else {name: name for name in weights}
    return {names[name]: t for name, t in weights.items() if "lm_head" not in name}


def _misfit(folder: Path, model: Any, config: Any) -> str:
    return (
        f"adapter {folder} was made for {config.base_model_name_or_path!r} and does not fit "
        f"{type(model).__name__} with {model.config.num_hidden_layers} layers of width "
        f"{model.config.hidden_size}"
    )
