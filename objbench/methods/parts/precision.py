"""Numbers that need float32, whatever the precision of the networks."""

from __future__ import annotations

import torch
from torch import Tensor


def widened(values: Tensor) -> Tensor:
    """`values` in float32; float64 stays float64."""
    return values if values.dtype == torch.float64 else values.float()
