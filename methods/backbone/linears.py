"""What makes a CPU fast: weights laid out once for oneDNN, and memory that is kept.

Both leave every module of the model what it is. A linear layer whose weight is repacked once gives
the same products without repacking it at every call; the operators are private to torch, so they
are tried on a small layer first, and where they fail linear layers stay torch's own.

By default glibc gives each freed block of some size back to the system, and each new activation is
faulted in page by page: at 2,048 tokens half of a norm's time. The process keeps them instead.
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
ROWS = 1024  # a layout serves any number of rows; this is what it is laid out for


class PrepackedLinear(nn.Linear):
    """A linear layer that holds its weight in oneDNN's layout only. For inference."""

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.packed = _packed(linear.weight)
        self.bias = linear.bias

    @property
    def weight(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The weight as torch lays it out, made anew at each call."""
        return self.packed.to_dense()

    def forward(self, input: Tensor) -> Tensor:
        """What nn.Linear gives, to the last digits of the dtype."""
        return torch.ops.mkldnn._linear_pointwise(input, self.packed, self.bias, "none", [], "")

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight"] = self.weight

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *more: Any) -> None:
        if (weight := state_dict.get(prefix + "weight")) is not None:
            self.packed = _packed(weight.to(self.packed.dtype))
        rest = {key: value for key, value in state_dict.items() if key != prefix + "weight"}
        super()._load_from_state_dict(rest, prefix, *more)


def _packed(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), ROWS)


@torch.inference_mode()
def prepack(model: nn.Module, wish: Linears) -> str:
    """Repack a CPU model's plain linear layers; which kind they now are: `onednn` or `torch`.

    Raises ValueError where onednn is asked for by name and this torch or this model cannot.
    """
    weights = next(model.parameters())
    reason = None
    if weights.device.type != "cpu":
        reason = f"the model is on {weights.device}"
    elif weights.dtype not in (torch.float32, torch.bfloat16):
        reason = f"oneDNN's layers are not tried in {weights.dtype}"
    elif not _works(weights.dtype):
        reason = f"torch {torch.__version__} on this CPU cannot"
    if wish == "torch" or (wish == "auto" and reason):
        return "torch"
    if reason:
        raise ValueError(f"kernel.linears=onednn: {reason}; use kernel.linears=auto")
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:  # a subclass may mean something else
                setattr(module, name, PrepackedLinear(child))  # pyright: ignore[reportArgumentType]
    return "onednn"


def _works(dtype: torch.dtype) -> bool:
    """Whether the private operators are there and give what torch gives."""
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
        log.info("no prepacked linear layers: %s", error)
        return False


def keep_freed_memory() -> None:
    """Let this process keep what it frees, up to 1 GiB. Does nothing where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(M_MMAP_THRESHOLD, 32 << 20)
    mallopt(M_TRIM_THRESHOLD, 1 << 30)
    mallopt(M_TOP_PAD, 64 << 20)
