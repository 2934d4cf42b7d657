"""The three terms of objmae's objective (Section 3.2 of the paper), in float32, each a mean over the batch.

`log_masks` (B,K,...) is the logarithm of the mixture weights, K the slots, all further dimensions pixels.
"""

from __future__ import annotations

from torch import Tensor


def reconstruction_error(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over all pixels and channels, those of dropped patches included."""
    return (reconstruction.float() - target.float()).square().mean()


def pixel_entropy(log_masks: Tensor) -> Tensor:
    """Mean over pixels of the entropy (nats) of the slots at a pixel: low when each pixel has one owner."""
    log_masks = log_masks.float()
    return -(log_masks.exp() * log_masks).sum(1).mean()


def object_entropy(log_masks: Tensor) -> Tensor:
    """Entropy (nats) of the slots' shares of an image: low when an image needs few slots."""
    share = log_masks.float().exp().flatten(2).mean(2)  # (B,K)
    return -(share * (share + 1e-8).log()).sum(1).mean()  # a share may underflow, unlike a log-softmax
