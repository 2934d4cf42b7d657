"""Vectors as tensors (3,...), the axis first: every component is contiguous, and no reduction is needed.

Sums are written out term by term: additions, multiplications, divisions and roots of single elements are fixed to the
bit by IEEE 754, so float64 decisions made with them are the same on every device; reductions are not.
"""

from __future__ import annotations

import torch
from torch import Tensor


def divided(a: Tensor, number: float) -> Tensor:
    """`a` / `number` in the same bits on every device: on CUDA torch multiplies by the reciprocal of a plain number."""
    return a / torch.tensor(number, dtype=a.dtype, device=a.device)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The scalar product of (3,...) and (3,...)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def length(a: Tensor) -> Tensor:
    """The Euclidean length of (3,...)."""
    return dot(a, a).sqrt()


def unit(a: Tensor) -> Tensor:
    """(3,...) scaled to length one."""
    return a / length(a)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """The vector product of (3,...) and (3,...)."""
    return torch.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def turn(a: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """(3,...) turned about the vertical axis by the angle with this cosine and sine."""
    return torch.stack([cosine * a[0] - sine * a[1], sine * a[0] + cosine * a[1], a[2]])
