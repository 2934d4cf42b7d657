"""Where the fused kernels can run."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor


@cache
def triton_installed() -> bool:
    """Whether Triton could be imported; torch's builds for CUDA on Linux bring it, and the extra dev."""
    return find_spec("triton") is not None


@cache
def triton_supports(device: torch.device) -> bool:
    """Whether Triton compiles for this GPU: it supports those from Ampere on (compute capability 8.0)."""
    return torch.cuda.get_device_capability(device) >= (8, 0)


def fused(tensor: Tensor) -> bool:
    """Whether a kernel takes this tensor and those with it: on CUDA, in float32 or bfloat16, Triton installed."""
    known = tensor.is_cuda and tensor.dtype in (torch.float32, torch.bfloat16) and triton_installed()
    return known and triton_supports(tensor.device)
