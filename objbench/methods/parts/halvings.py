"""The encoders of component VAEs: 3x3 convolutions that halve a map until it is small enough for a linear layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import nn


def halvings(
    inputs: int,
    channels: Sequence[int],
    activation: type[nn.Module],
    norm: Callable[[int], nn.Module] | None = None,
) -> list[nn.Module]:
    """The layers from maps (B,inputs,H,W) to vectors (B,F): convolutions of stride 2, each with its activation, then all places.

    F is `channels[-1]` times `places`. A side that is odd is rounded up.

    Args:
        inputs: channels of the maps.
        channels: of each convolution.
        activation: after each convolution.
        norm: gives the norm before each activation from its number of channels; None for no norm.
    """
    layers: list[nn.Module] = []
    for before, after in zip([inputs, *channels[:-1]], channels, strict=True):
        layers.append(nn.Conv2d(before, after, 3, stride=2, padding=1))
        if norm is not None:
            layers.append(norm(after))
        layers.append(activation())
    return [*layers, nn.Flatten()]


def places(size: tuple[int, int], count: int) -> int:
    """Places that so many halvings leave of maps of `size`."""
    return math.prod(-(-side // 2**count) for side in size)
