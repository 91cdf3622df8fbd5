"""Resolve `auto` on this machine: dtype, device, attention kernels, tokens of a batch."""

from __future__ import annotations

import gc
import logging
import os
import re
import resource
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch

from methods.backbone.flash import has_flash_attn, has_varlen
from methods.backbone.packed_batch import PackedLayout

log = logging.getLogger(__name__)
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
AttentionKernel = Literal["auto", "eager", "sdpa", "flash_attention_2"]


def resolve_dtype(dtype: Dtype, device: str) -> str:
    """Return the dtype; `auto` is bfloat16 where the hardware computes in it, else float32."""
    if dtype != "auto":
        return dtype
    if resolve_device(device).startswith("cuda"):
        computes = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if computes else "float16"
    flags = torch.cpu.get_capabilities()
    return "bfloat16" if flags.get("avx512_bf16") or flags.get("amx_bf16") else "float32"


def resolve_device(device: str) -> str:
    """Return the device; `auto` is CUDA where there is one. Raises ValueError for an absent one."""
    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if re.fullmatch(r"cuda(:\d+)?", device):
        index = int(device.partition(":")[2] or 0)
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise ValueError(
                f"device {device} was asked for, but torch {torch.__version__} sees "
                f"{torch.cuda.device_count()} CUDA devices here; use model.device=cpu or auto"
            )
        return f"cuda:{index}"
    if device != "cpu":
        raise ValueError(f"device {device!r} is unknown; valid: auto, cpu, cuda, cuda:N")
    return device


def warn_of_unused_card() -> None:
    """Warn if there is an NVIDIA card that torch does not see, and say why."""
    if torch.cuda.is_available() or not (sign := find_card()):
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if torch.version.cuda is None:
        why = f"torch {torch.__version__} is built without CUDA; install a build with it"
    elif visible is not None:
        why = (
            f"CUDA_VISIBLE_DEVICES is {visible!r}, as a launcher sets it that was asked for no "
            f"card; ask it for one"
        )
    else:
        why = (
            f"torch {torch.__version__} needs a driver for CUDA {torch.version.cuda}; update the "
            f"driver or install a build of torch for an earlier CUDA"
        )
    log.warning(
        "RUNNING ON THE CPU although this machine has an NVIDIA card (%s): %s. model.device=cpu "
        "turns this warning off",
        sign,
        why,
    )


def find_card() -> str | None:
    """Return what shows that there is an NVIDIA card, whether or not its driver works."""
    for file in ("/dev/nvidia0", "/proc/driver/nvidia/version"):
        if Path(file).exists():
            return file
    for vendor in Path("/sys/bus/pci/devices").glob("*/vendor"):
        with suppress(OSError):
            kind = vendor.with_name("class").read_text()
            if vendor.read_text().strip() == "0x10de" and kind.startswith("0x03"):
                return str(vendor.parent)
    return shutil.which("nvidia-smi")


def resolve_kernels(kernel: AttentionKernel, device: str, dtype: str) -> list[str]:
    """Return the attention kernels to try, in order; one if it was asked for by name."""
    flash = has_flash_attn()
    fits_flash = flash and resolve_device(device).startswith("cuda") and dtype != "float32"
    if kernel == "flash_attention_2" and not fits_flash:
        raise ValueError(
            "kernel=flash_attention_2 needs the flash-attn package (pip install -e '.[flash]'), a "
            f"CUDA device and a half precision; here: flash-attn {'is' if flash else 'is not'} "
            f"installed, device {resolve_device(device)}, dtype {dtype}"
        )
    if kernel != "auto":
        return [kernel]
    return ["flash_attention_2"] * fits_flash + ["sdpa", "eager"]


def list_packed_layouts(device: str, dtype: str, kernel: AttentionKernel) -> list[PackedLayout]:
    """Return how attention over packed sequences may be computed (packed_batch.py), best first.

    kernel: as it was asked for; flash-attn by name comes before torch's own flash attention.
    """
    if device == "cpu":
        return ["groups"]
    half = dtype in ("bfloat16", "float16")
    flash: list[PackedLayout] = ["varlen"] * (half and has_varlen())
    if half and has_flash_attn() and kernel in ("auto", "flash_attention_2"):
        flash.insert(0 if kernel == "flash_attention_2" else len(flash), "flash_attention_2")
    return [*flash, "padded"]


def resolve_batch_tokens(wish: int | Literal["auto"], device: str) -> int:
    """Return the tokens of a batch.

    On a CPU more gain nothing, and fewer load the weights more often.
    """
    if wish == "auto":
        return 2048 if device == "cpu" else 32768
    return wish


def make_four_bit_options(device: str, dtype: str) -> dict[str, Any]:
    """Return the options that load weights in 4 bits: nf4, quantised twice, computed in `dtype`."""
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
    return {"quantization_config": config, "device_map": {"": device}}


def free_memory() -> None:
    """Give back memory that nothing refers to, cycles included."""
    gc.collect()
    torch.cuda.empty_cache()


def reset_peak_memory(device: str) -> None:
    """Reset the peak of memory use, as far as the system allows it."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # Linux: resets the peak resident size to the current one
            Path("/proc/self/clear_refs").write_text("5")


def measure_peak_memory(device: str) -> float:
    """Return the peak MiB since the last reset: on CUDA of the device, else of the process.

    Where the system cannot reset it (macOS), it is the process's peak since its start.
    """
    if device.startswith("cuda"):
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        peak = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return round(int(peak) / 2**10, 1)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
