"""The seam between two halves of a transformer layer: add a branch to the residual stream, normalise the sum."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from objmae.kernels.available import fused


def residual_norm(
    residual: Tensor, branch: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """The sum of residual and branch (...,D), in the residual's dtype, and its LayerNorm, in the branch's dtype.

    weight and bias (D) are the norm's. Statistics are float32, of the sum as it is stored. The fused form keeps the
    sum and two numbers per row for the backward pass.
    """
    if not fused(branch):
        return plain_residual_norm(residual, branch, weight, bias, eps)
    from objmae.kernels.fused.residual_norm import FusedResidualNorm

    with torch.cuda.device(branch.device):
        total, normalised = FusedResidualNorm.apply(residual, branch, weight, bias, eps)
    return total, normalised


def plain_residual_norm(
    residual: Tensor, branch: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """What `residual_norm` gives, from the definition."""
    total = (residual + branch).to(residual.dtype)
    wide = torch.promote_types(total.dtype, torch.float32)
    normalised = F.layer_norm(total.to(wide), weight.shape, weight.to(wide), bias.to(wide), eps)
    return total, normalised.to(branch.dtype)
