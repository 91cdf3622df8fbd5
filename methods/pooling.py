"""The poolings: every public function of this file is one, and its name is what `pooling` takes.

From the hidden states of a row to one vector: pure functions of states and a pool mask. To add one,
write it here, or in the pooling.py of a folder of yours (pooling_names.py finds both).

B rows, L positions, D hidden size. Everything is computed in float32, whatever the model ran in: a
mean over five hundred bfloat16 states must not round at every addition.

A pool mask says which positions count (boolean, at least one true in every row), and that is all a
method needs to say: the weights of the weighted mean are ranks *inside the mask* (1, 2, 3, ...), so
left padding, a template in front or a masked instruction cannot shift them. SGPT's own code
multiplies absolute positions by the attention mask, which equals this for right padding only
(arXiv 2202.08904).
"""

import torch
from torch import Tensor


def last(hidden_BLD: Tensor, pool_mask_BL: Tensor) -> Tensor:
    """Return the state at the last true position of each row: [B, D], float32."""
    positions_L = torch.arange(pool_mask_BL.shape[1], device=pool_mask_BL.device)
    last_B = (positions_L * pool_mask_BL).argmax(dim=1)
    return hidden_BLD[torch.arange(len(hidden_BLD), device=last_B.device), last_B].float()


def mean(hidden_BLD: Tensor, pool_mask_BL: Tensor) -> Tensor:
    """Return the mean over the true positions of each row: [B, D], float32."""
    return _average(hidden_BLD, pool_mask_BL, pool_mask_BL.float())


def weighted_mean(hidden_BLD: Tensor, pool_mask_BL: Tensor) -> Tensor:
    """Return SGPT's position-weighted mean, the i-th true position weighing i: [B, D], float32."""
    return _average(hidden_BLD, pool_mask_BL, (pool_mask_BL.cumsum(dim=1) * pool_mask_BL).float())


def _average(hidden_BLD: Tensor, pool_mask_BL: Tensor, weights_BL: Tensor) -> Tensor:
    # What stands at a masked position may be anything, also non-finite, and nan * 0 is nan.
    states_BLD = hidden_BLD.float().masked_fill(~pool_mask_BL[:, :, None], 0.0)
    weights_BL = weights_BL / weights_BL.sum(dim=1, keepdim=True)
    return torch.bmm(weights_BL[:, None], states_BLD)[:, 0]
