"""Speed up a CPU: prepack weights for oneDNN once, and keep freed memory in the process.

Neither changes what a module computes. A linear layer whose weight is prepacked gives the same
products without repacking it at every call. The operators are private to torch, so they are tried
on a small layer first, and where they fail the linear layers stay torch's own.

By default glibc returns each large freed block to the system, and each new activation is faulted in
page by page: at 2,048 tokens half of a norm's time. The process keeps them instead.
"""

from __future__ import annotations

import ctypes
import logging
from typing import Any, Literal

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)
Linears = Literal["auto", "torch", "onednn"]
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc
ROWS = 1024  # a packed weight serves any number of rows; it is optimised for this one


class PrepackedLinear(nn.Linear):
    """A linear layer that stores its weight in oneDNN's layout only, for inference."""

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.packed = _prepack_weight(linear.weight)
        self.bias = linear.bias

    @property
    def weight(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Return the weight in torch's layout, unpacked at each call."""
        return self.packed.to_dense()

    def forward(self, input: Tensor) -> Tensor:
        """Return what nn.Linear gives, to the last digits of the dtype."""
        return torch.ops.mkldnn._linear_pointwise(input, self.packed, self.bias, "none", [], "")

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight"] = self.weight

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *more: Any) -> None:
        if (weight := state_dict.get(prefix + "weight")) is not None:
            self.packed = _prepack_weight(weight.to(self.packed.dtype))
        rest = {key: value for key, value in state_dict.items() if key != prefix + "weight"}
        super()._load_from_state_dict(rest, prefix, *more)


def _prepack_weight(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), ROWS)


@torch.inference_mode()
def prepack(model: nn.Module, wish: Linears) -> str:
    """Prepack a CPU model's plain linear layers; return their kind: `onednn` or `torch`.

    Raises ValueError where onednn is asked for by name and not available.
    """
    weights = next(model.parameters())
    reason = None
    if weights.device.type != "cpu":
        reason = f"the model is on {weights.device}"
    elif weights.dtype not in (torch.float32, torch.bfloat16):
        reason = f"oneDNN's layers are not supported in {weights.dtype}"
    elif not _is_supported(weights.dtype):
        reason = f"torch {torch.__version__} does not support it on this CPU"
    if wish == "torch" or (wish == "auto" and reason):
        return "torch"
    if reason:
        raise ValueError(f"kernel.linears=onednn: {reason}; use kernel.linears=auto")
    for module in list(model.modules()):
        if isinstance(module, nn.ModuleDict):  # of an adapter, whose weights PEFT asks for
            continue
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:  # a subclass may mean something else
                setattr(module, name, PrepackedLinear(child))  # pyright: ignore[reportArgumentType]
    return "onednn"


def _is_supported(dtype: torch.dtype) -> bool:
    """Return whether the private operators exist and give what torch gives."""
    linear: Any = nn.utils.skip_init(nn.Linear, 48, 40, dtype=dtype)  # draws no random numbers
    for values in linear.parameters():
        values.copy_(torch.linspace(-1, 1, values.numel()).view_as(values).sin())
    input_BLD = torch.linspace(-1, 1, 2 * 3 * 48, dtype=dtype).view(2, 3, 48)
    try:
        packed = PrepackedLinear(linear)
        near = 1e-5 if dtype == torch.float32 else 2e-2
        close = torch.allclose(packed(input_BLD), linear(input_BLD), atol=near, rtol=near)
        return close and torch.equal(packed.weight, linear.weight)
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        log.info("linear layers are not prepacked: %s", error)
        return False


def keep_freed_memory() -> None:
    """Keep up to 1 GiB of freed memory in this process. Does nothing without glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(M_MMAP_THRESHOLD, 32 << 20)
    mallopt(M_TRIM_THRESHOLD, 1 << 30)
    mallopt(M_TOP_PAD, 64 << 20)
