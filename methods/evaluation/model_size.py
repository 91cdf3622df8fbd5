"""Count a model's weights and what memory is free, without loading the weights."""

from __future__ import annotations

import copy
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from methods.backbone.hardware import resolve_device, resolve_dtype
from methods.backbone.loader import BackboneSpec, load_config

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class ModelSize:
    """weights: their number. linear_weights: those of linear layers, of which a token takes two
    operations each; experts that are one tensor are not among them. bytes: of all in their dtype.
    """

    weights: int
    linear_weights: int
    bytes: int
    dtype: str


def measure_model(spec: BackboneSpec) -> ModelSize:
    """Return the size of a model, from its config alone."""
    from transformers import AutoModel

    _, config = load_config(spec)
    with torch.device("meta"):
        model = AutoModel.from_config(copy.deepcopy(config), trust_remote_code=spec.remote_code)
    dtype = resolve_dtype(spec.dtype, spec.device)
    weights = sum(parameter.numel() for parameter in model.parameters())
    linears = [part for part in model.modules() if hasattr(part, "in_features")]
    linear = sum(part.in_features * part.out_features for part in linears)
    size = BYTES[dtype] * (weights - linear) + linear * (0.5 if spec.four_bit else BYTES[dtype])
    return ModelSize(weights, linear, int(size), ("nf4_" if spec.four_bit else "") + dtype)


def find_free_memory(device: str) -> int | None:
    """Return the bytes that a model may take on a device: free ones, and those this process holds.

    None where the system does not say.
    """
    device = resolve_device(device)
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    with suppress(OSError, StopIteration, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next(line for line in lines if line.startswith("MemAvailable:"))
        own = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        found = 1024 * int(free.split()[1]) + own
        return min(found, _find_limit() or found)
    return None


def _find_limit() -> int | None:
    """Return the memory that a container or Slurm allows this process."""
    with suppress(OSError, ValueError):
        return int(Path("/sys/fs/cgroup/memory.max").read_text())
    return None
