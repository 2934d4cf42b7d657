"""Normal numbers within two deviations, as several published codes initialise with."""

from __future__ import annotations

import math

import torch
from torch import Tensor


@torch.no_grad()
def truncated_normal_(weight: Tensor, variance: float = 1.0) -> Tensor:
    """Fill `weight` with normal numbers of this variance, those within two deviations alone; returns it.

    torch's own function looks at the values, which a tensor without values does not have.
    """
    edge = math.erf(math.sqrt(2))
    return weight.uniform_(-edge, edge).erfinv_().mul_(math.sqrt(2 * variance))
