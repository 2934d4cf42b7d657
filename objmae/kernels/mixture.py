"""From the head's output to the three losses: the slots' mixture, its error and the two entropies of the masks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from objmae.kernels.available import fused
from objmae.losses import object_entropy, pixel_entropy, reconstruction_error


class MixtureLosses(NamedTuple):
    """Three scalars in float32: the terms of objmae's objective, see `objmae.losses`."""

    reconstruction: Tensor
    pixel_entropy: Tensor
    object_entropy: Tensor


def mixture_losses(y: Tensor, target: Tensor) -> MixtureLosses:
    """The losses of a head's output y (B,K,N,P*P,4), float32 or bfloat16, RGB and alpha, against target patches.

    target (B,N,P*P*3): float32 in [-1,1], or uint8. The fused form reads y once forward and once backward, and keeps
    for the backward pass nothing but its arguments and each slot's share of each image.
    """
    if not fused(y):
        return plain_mixture_losses(y, target)
    from objmae.kernels.fused.mixture import FusedMixture

    with torch.cuda.device(y.device):
        return MixtureLosses(*FusedMixture.apply(y, target))


def plain_mixture_losses(y: Tensor, target: Tensor) -> MixtureLosses:
    """The losses from their definitions."""
    if target.dtype is torch.uint8:
        target = target / 127.5 - 1
    y = y.float()
    rgb, log_masks = y[..., :3], y[..., 3].log_softmax(1)  # (B,K,N,P*P,3), (B,K,N,P*P)
    mixture = (log_masks.exp().unsqueeze(-1) * rgb).sum(1).flatten(2)  # (B,N,P*P*3)
    return MixtureLosses(
        reconstruction_error(mixture, target), pixel_entropy(log_masks), object_entropy(log_masks)
    )
