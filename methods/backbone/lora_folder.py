"""Read a LoRA folder: the tuner's settings and the tensors.

Of adapter_config.json only the tuner's own settings are used: not the task type, the class it was
saved from or the name of its base model.
"""

import json
import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from methods.backbone.files import check_file, check_safetensors

log = logging.getLogger(__name__)
# Metadata of the class and the run that the adapter was saved from, not the tuner's settings.
METADATA = (
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "revision",
    "runtime_config",
    "task_type",
)
CANNOT = {
    "layer_replication": "changes the model's number of layers",
    "alora_invocation_tokens": "acts only after its invocation tokens, so it cannot be merged",
    "arrow_config": "routes between adapters, so it cannot be merged",
}


def read_lora_config(folder: Path) -> tuple[Any, str | None]:
    """Return a folder's LoraConfig without metadata, and the model it names as its base.

    Raises ValueError for a file that is no JSON, and for a tuner that cannot be merged.
    """
    from peft import LoraConfig

    file = folder / "adapter_config.json"
    check_file(file)
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{file} holds {type(settings).__name__}, so it is not a LoRA")
    kind = settings.pop("peft_type", None)
    if kind != "LORA":
        raise ValueError(
            f"adapter {folder} is not a LoRA: its peft_type is {kind}, which is not merged here. "
            f"Supported: LORA (with DoRA, rsLoRA, rank patterns, modules_to_save, trained tokens)"
        )
    for name, reason in CANNOT.items():
        if settings.get(name):
            raise ValueError(f"adapter {folder} is not supported: its {name} {reason}")
    made_for = settings.get("base_model_name_or_path")
    settings = {name: value for name, value in settings.items() if name not in METADATA}
    known = set(LoraConfig.__dataclass_fields__)
    if unknown := sorted(name for name in settings if name not in known and settings[name]):
        log.warning(
            "%s has settings that this PEFT does not know, which are ignored: %s; a newer PEFT may "
            "merge it differently",
            file,
            ", ".join(unknown),
        )
    settings = {name: value for name, value in settings.items() if name in known}
    try:
        return LoraConfig(inference_mode=True, **settings), made_for
    except (TypeError, ValueError, ImportError) as error:
        raise ValueError(f"{file} is no LoRA config that this PEFT reads: {error}") from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of an adapter folder.

    Raises ValueError for a file that is missing or cut short, and for tensors that are empty or not
    finite.
    """
    from safetensors.torch import load_file

    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        found = ", ".join(sorted(p.name for p in folder.glob("*"))[:8]) or "nothing"
        raise ValueError(
            f"{folder} has no adapter_model.safetensors, it has {found}; "
            f"other formats are not loaded: save the adapter again with PEFT"
        )
    check_safetensors(file)
    weights = load_file(file)
    for name, tensor in weights.items():
        if tensor.numel() == 0 or not tensor.isfinite().all():
            fault = (
                "is empty (saved from a sharded training?)"
                if tensor.numel() == 0
                else ("has values that are not finite (did the training diverge?)")
            )
            raise ValueError(f"{file}: {name} {fault}; save the adapter again")
    return weights
