"""Whiten the vectors of pairs (Su et al., arXiv 2103.15316), on the device that the model runs on.

Cosines after whitening depend on the inverse of the covariance alone. Where it has full rank a
Cholesky factor gives it; eigenvectors, which take much longer, are computed where it has not.

N pairs, D dimensions.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from methods.backbone.hardware import free_memory

log = logging.getLogger(__name__)

SMALLEST = 1e-10  # of the largest variance: a direction with less is left out; MiniLM has one


def compute_whitened_cosines(
    first_ND: np.ndarray, second_ND: np.ndarray, *, device: str = "cpu"
) -> np.ndarray:
    """Return the cosines [N] of pairs, whitened by mean and covariance of both sides together.

    Computed in float64; on the CPU where memory of the device does not suffice. Raises LinAlgError
    where the covariance has no eigenvectors.
    """
    both = np.concatenate([first_ND, second_ND]).astype(np.float64)
    try:
        return _compute_cosines(torch.from_numpy(both), device)
    except torch.OutOfMemoryError:
        log.info("no memory on %s to whiten %s vectors; the CPU does it", device, both.shape)
    free_memory()
    return _compute_cosines(torch.from_numpy(both), "cpu")


def _compute_cosines(both: Tensor, device: str) -> np.ndarray:
    both = both.to(device)
    try:
        first, second = _whiten(both - both.mean(0)).chunk(2)
    except torch.linalg.LinAlgError as error:  # pyright: ignore[reportPrivateImportUsage]
        raise np.linalg.LinAlgError(str(error)) from error
    return functional.cosine_similarity(first, second, eps=1e-300).cpu().numpy()


def _whiten(centred_ND: Tensor) -> Tensor:
    """Return centred vectors turned and scaled so that their covariance is the identity."""
    covariance_DD = centred_ND.T @ centred_ND / (len(centred_ND) - 1)
    factor_DD, failed = torch.linalg.cholesky_ex(covariance_DD)
    if not failed:
        identity = torch.eye(len(factor_DD), dtype=factor_DD.dtype, device=factor_DD.device)
        inverse_DD = torch.linalg.solve_triangular(factor_DD, identity, upper=False)
        # No variance is larger than the first sum, none smaller than one over the second.
        if covariance_DD.trace() * inverse_DD.square().sum() < 1 / SMALLEST:
            return torch.linalg.solve_triangular(factor_DD, centred_ND.T, upper=False).T
    variance_D, axes_DD = torch.linalg.eigh(covariance_DD)
    wide = variance_D > variance_D[-1] * SMALLEST
    return centred_ND @ (axes_DD[:, wide] / variance_D[wide].sqrt())
