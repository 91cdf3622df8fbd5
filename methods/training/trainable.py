"""Attach what a recipe trains to a model: PEFT adapters around frozen weights, and new tokens.

BitFit (SGPT, UDEVER) trains the biases a model has. Llama, Mistral, Qwen3 and SmolLM2 have none, so
there it would train nothing, which is an error. `added_bias` first gives every linear layer a zero
bias; the adapter folder is PEFT's all the same (`bias: all`), and merging it adds these biases.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from methods.backbone.adapters import add_biases
from methods.backbone.hardware import resolve_device
from methods.backbone.merge import quiet_peft
from methods.training.recipe import Trainable


def attach(model: Any, trainable: Trainable, *, rows: list[int]) -> Any:
    """Return the model with what is trained: a PeftModel, or the model itself if all weights are.

    rows: input embedding rows trained as well. Raises ValueError where nothing would be trained.
    """
    from peft import LoraConfig

    if trainable.kind == "full":
        return model.float().requires_grad_(True)  # small steps are lost on half precision
    linears = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    common: dict[str, Any] = {"trainable_token_indices": rows} if rows else {}
    if trainable.kind == "lora":
        targets = trainable.targets
        config = LoraConfig(
            r=trainable.r,
            lora_alpha=trainable.alpha,
            lora_dropout=trainable.dropout,
            target_modules=targets if isinstance(targets, str) else list(targets),
            **common,
        )
        return _wrap(model, config)
    if trainable.kind == "added_bias":
        add_biases(model, linears)
    biases = [name for name, _ in model.named_parameters() if name.endswith("bias")]
    if not biases:
        raise ValueError(
            f"BitFit would train nothing: {type(model).__name__} has no biases. Use "
            f"recipe.trainable.kind=added_bias (a zero bias for every linear layer) or "
            f"recipe.trainable.kind=lora"
        )
    # PEFT trains biases only beside a LoRA: one of rank one on a single layer, which stays zero.
    config = LoraConfig(r=1, target_modules=[linears[0]], bias="all", **common)
    wrapped = _wrap(model, config)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.requires_grad_(False)
        elif parameter.requires_grad:  # the frozen weights may be bfloat16; what is trained is not
            parameter.data = parameter.data.float()
    return wrapped


def _wrap(model: Any, config: Any) -> Any:
    """Return PEFT's model with its target modules in one order.

    PEFT holds them as a set, whose order differs between processes; written to
    adapter_config.json it would give the same training another digest each time.
    """
    from peft import get_peft_model

    with quiet_peft():
        wrapped = get_peft_model(model, config)
    own = wrapped.peft_config["default"]
    if isinstance(own.target_modules, set):
        own.target_modules = sorted(own.target_modules)
    return wrapped


def supports_four_bit(device: str) -> bool:
    """Return whether 4-bit weights are available: on CUDA, with bitsandbytes."""
    return resolve_device(device).startswith("cuda") and find_spec("bitsandbytes") is not None


def count_parameters(*parts: nn.Module | None) -> tuple[int, int]:
    """Return the number of trained parameters, and of all."""
    parameters = [p for part in parts if part is not None for p in part.parameters()]
    sizes = [(p.numel(), p.requires_grad) for p in parameters]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def find_embedding_rows(method: Any, trainable: Trainable, tokenizer: Any) -> list[int]:
    """Return the ids whose input embeddings a recipe trains."""
    ids: list[int] = []
    if "eos" in trainable.rows:
        ids.append(tokenizer.eos_token_id)
    if "new_tokens" in trainable.rows:
        ids += tokenizer.convert_tokens_to_ids(list(method.new_tokens))
    return ids


def add_tokens(model: Any, tokenizer: Any, tokens: tuple[str, ...]) -> list[str]:
    """Add the tokens that the vocabulary lacks, and return them. Their rows are drawn around the
    mean of the others, as transformers does."""
    lacking = [token for token in tokens if token not in tokenizer.get_vocab()]
    if not lacking:
        return []
    tokenizer.add_special_tokens(
        {"additional_special_tokens": lacking}, replace_extra_special_tokens=False
    )
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model.resize_token_embeddings(len(tokenizer))
    return lacking
