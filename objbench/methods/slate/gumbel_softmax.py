"""One of V categories as a sample that has a gradient.

The relaxed one-hot sample is that of Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017,
and of Maddison, Mnih and Teh, "The Concrete Distribution", ICLR 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gumbel(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Standard Gumbel numbers, -log of exponential ones, with the device and dtype of `like`; always finite."""
    drawn = torch.empty(shape, device=like.device, dtype=like.dtype).exponential_()
    return -drawn.clamp_min(torch.finfo(drawn.dtype).tiny).log()


def relaxed_one_hot(logits: Tensor, noise: Tensor, temperature: float | Tensor) -> Tensor:
    """softmax((logits + noise) / temperature) over axis 1: positive, sums to one.

    Args:
        logits: (B,V,...), unnormalised.
        noise: standard Gumbel numbers of the same shape.
        temperature: the lower, the closer to a single category.
    """
    return ((logits + noise) / temperature).softmax(1)


def sampled(logits: Tensor, noise: Tensor) -> Tensor:
    """A category for each place, int64 (B,...), with the probabilities softmax(logits) over axis 1 (the Gumbel-max trick)."""
    return (logits + noise).argmax(1)
