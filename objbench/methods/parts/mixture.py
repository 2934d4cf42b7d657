"""Likelihoods of an image as a mixture of slots: pixel distributions, and the ways to mix them.

Methods differ in three choices:
- Where the slots are mixed: in each colour channel by itself (MONet, GENESIS-V2, EfficientMORL's mixture) or once per
  pixel for the three together (IODINE's published code).
- Whether they are mixed at all: a Gaussian around the composed image depends on the masks through its mean alone
  (EfficientMORL on Tetrominoes and multi-dSprites), which spreads the background over the slots.
- Whether the constant log(2 pi)/2 of each normal density is counted: gradients do not depend on it, but a GECO target
  does; hence the parameter `normalised`.

Everything is computed in float32, whatever the dtype of the input.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def gaussian(values: Tensor, means: Tensor, sigma: float | Tensor, *, normalised: bool) -> Tensor:
    """Log-density of a normal distribution, element by element; a tensor `sigma` broadcasts.

    `normalised` False leaves out log(2 pi) / 2, never log sigma.
    """
    log_sigma = sigma.log() if isinstance(sigma, Tensor) else math.log(sigma)
    density = -0.5 * ((values.float() - means.float()) / sigma).square() - log_sigma
    return density - HALF_LOG_TWO_PI if normalised else density


def logistic(values: Tensor, means: Tensor, scale: float) -> Tensor:
    """Log-density of a logistic distribution, element by element."""
    distance = ((values.float() - means.float()) / scale).abs()  # even function: no overflow on either side
    return -distance - 2 * softplus(-distance) - math.log(scale)


def mix(densities: Tensor, log_masks: Tensor) -> Tensor:
    """log sum_k m_k p_k of log-densities (B,K,C,H,W) and log-masks (B,K,1,H,W): (B,C,H,W).

    Channels are mixed one by one; sum them first (C = 1) to mix whole pixels.
    """
    return torch.logsumexp(densities.float() + log_masks.float(), dim=1)


def per_channel(
    images: Tensor, means: Tensor, log_masks: Tensor, sigma: float | Tensor, *, normalised: bool
) -> Tensor:
    """Log-likelihood (B,) of images, each channel of each pixel a Gaussian mixture of its own.

    Args:
        images: (B,3,H,W).
        means: (B,K,3,H,W).
        log_masks: (B,K,1,H,W), logarithms of masks that sum to one over K.
        sigma: one for all slots, or (K,), one for each.
        normalised: whether log(2 pi) / 2 is counted.
    """
    densities = gaussian(images[:, None], means, _of_slots(sigma), normalised=normalised)
    return mix(densities, log_masks).flatten(1).sum(1)


def composed(
    images: Tensor, means: Tensor, log_masks: Tensor, sigma: float | Tensor, *, normalised: bool
) -> Tensor:
    """Log-likelihood (B,) of images (B,3,H,W) under a Gaussian around the composed image; one sigma."""
    composition = (log_masks.float().exp() * means.float()).sum(1)
    return gaussian(images, composition, sigma, normalised=normalised).flatten(1).sum(1)


def _of_slots(sigma: float | Tensor) -> float | Tensor:
    """`sigma` so that it broadcasts against (B,K,3,H,W)."""
    return sigma[:, None, None, None] if isinstance(sigma, Tensor) and sigma.ndim else sigma
