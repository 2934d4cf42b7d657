"""From linear light to the 128x128 picture: Blender's standard film, then the crop's bicubic reduction."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_ONE = 2.0**22


def develop(light: Tensor) -> Tensor:
    """Linear light as 8-bit sRGB values, float and rounded: what upstream's PNG holds."""
    light = light.clamp(0, 1)
    curve = torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(1e-6) ** (1 / 2.4) - 0.055)
    return (curve * 255).round()


def reduce(frames: Tensor, size: int, kernel: Callable[[int, int], Tensor] | None = None) -> Tensor:
    """Frames (N,3,S,S) of 8-bit values reduced to uint8 (N,3,size,size), bit for bit as Pillow does.

    As in Pillow, weights are whole multiples of 2**-22: float64 holds every sum exactly, in any order.

    Args:
        frames: (N,3,S,S).
        size: The new side.
        kernel: The matrix of Pillow's filter: `bicubic` or `bilinear`.
    """
    weights = ((kernel or bicubic)(frames.shape[-1], size) * _ONE).round().to(frames.device)
    across = _rounded(frames.double() @ weights.T)
    return _rounded(weights @ across).to(torch.uint8)


def _rounded(sums: Tensor) -> Tensor:
    return ((sums + _ONE / 2) / _ONE).floor().clamp(0, 255)


def bicubic(old: int, new: int) -> Tensor:
    """The matrix (new, old) of Pillow's BICUBIC: Keys' kernel with a = -1/2, stretched when it reduces."""
    x = _distances(old, new)
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, inner, torch.where(x < 2, outer, 0))
    return weights / weights.sum(1, keepdim=True)


def bilinear(old: int, new: int) -> Tensor:
    """The matrix (new, old) of Pillow's BILINEAR: a triangle, stretched when it reduces."""
    weights = (1 - _distances(old, new)).clamp_min(0)
    return weights / weights.sum(1, keepdim=True)


def _distances(old: int, new: int) -> Tensor:
    """How far (new, old) old pixels are from the centres of new ones, in units of the larger of the two."""
    scale = old / new
    center = (torch.arange(new, dtype=torch.float64) + 0.5) * scale
    return (torch.arange(old, dtype=torch.float64) + 0.5 - center[:, None]).abs() / max(scale, 1)


def pick(masks: Tensor, size: int) -> Tensor:
    """Label maps (N,S,S) reduced to (N,size,size) as Pillow's NEAREST does."""
    chosen = ((2 * torch.arange(size, device=masks.device) + 1) * masks.shape[-1]) // (2 * size)
    return masks[:, chosen][:, :, chosen].contiguous()
