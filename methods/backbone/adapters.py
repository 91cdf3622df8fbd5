"""List adapter folders in merge order, and read what their training.json records.

Adapters are merged into the weights (merge.py); the rest of the engine does not see them.

A folder made by `dec2vec train` also holds its parent adapters in `below/`, in merge order, and in
training.json the base weights it was trained on. Other base weights are refused.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from methods.identity import digest_adapter
from methods.records import read_json

log = logging.getLogger(__name__)


def stack_adapters(adapters: Sequence[str]) -> list[str]:
    """Return adapter folders in the order they are merged, each after its parents; none twice."""
    found: dict[str, str] = {}
    for adapter in adapters:
        below = sorted(
            (Path(adapter) / "below").glob("[0-9]*_*"), key=lambda p: int(p.name.split("_")[0])
        )
        for folder in [*map(str, below), adapter]:
            found.setdefault(digest_adapter(folder), folder)
    return list(found.values())


def refuse_other_base(adapters: Iterable[str], weights: str, *, files: str | None = None) -> None:
    """Raise ValueError for an adapter whose training.json names other base weights.

    files: digest of the model's config and tokenizer; a difference from training is logged.
    """
    for adapter in adapters:
        file = Path(adapter) / "training.json"
        about = read_json(file) if file.is_file() else {}
        base = about.get("base")
        base = base if isinstance(base, dict) else {}  # the file may be another program's
        if base.get("weights", weights) != weights:
            raise ValueError(
                f"{adapter} was trained on {base.get('name')} ({base['weights']}), this model is "
                f"{weights}; give the model it was trained on, or train it on this one"
            )
        if base.get("files", files) != files:
            log.warning(
                "%s was trained on these weights with another config.json or tokenizer", adapter
            )


def summarize_training(adapter: str) -> dict[str, Any]:
    """Return what training.json records, for evaluation records; little for foreign adapters."""
    file = Path(adapter) / "training.json"
    about = read_json(file) if file.is_file() else {}
    keys = ("title", "steps", "seconds", "tokens", "data", "best", "command", "commit")
    found = {key: about[key] for key in keys if key in about}
    if "recipe" in about:
        found["learning_rate"] = about["recipe"]["learning_rate"]
        found["pooler"] = (about["recipe"]["trainable"].get("pooler") or {}).get("kind")
        found["seed"] = ((about.get("config") or {}).get("run") or {}).get("seed")
    return {"folder": Path(adapter).name, "digest": digest_adapter(adapter), **found}


def add_biases(model: nn.Module, linears: Iterable[str]) -> None:
    """Add a bias of zeros to the named linear layers that have none."""
    for name in linears:
        layer: Any = model.get_submodule(name)
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros(layer.out_features, dtype=layer.weight.dtype))
            layer.bias.data = layer.bias.data.to(layer.weight.device)
