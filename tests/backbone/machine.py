"""What this machine can do, asked of torch itself and not of the product under test."""

import pytest
import torch


def why_no_onednn(dtype: torch.dtype) -> str | None:
    """Why torch's private oneDNN operators cannot run a linear layer here; None if they can."""
    rows, weight = torch.ones(4, 8, dtype=dtype), torch.eye(8, dtype=dtype)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 4)
        found = torch.ops.mkldnn._linear_pointwise(rows, packed, None, "none", [], "")
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        return f"no prepacked layers in {dtype} on this CPU: {error}"
    return None if torch.equal(found, rows) else f"oneDNN miscalculates in {dtype} on this CPU"


def needs_onednn(dtype: torch.dtype = torch.float32) -> None:
    """Skip a test where linear layers of this dtype cannot be prepacked."""
    if (reason := why_no_onednn(dtype)) is not None:
        pytest.skip(reason)
