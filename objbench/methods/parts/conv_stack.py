"""Stacks of convolutions with the activation before the norm: encoders with strides, sub-pixel decoders.

SPAIR*, SPACE and GNM use them for images, glimpses and what a glimpse shows: convolution, pixel shuffle (Shi et al.,
"Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016),
CELU, GroupNorm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from objbench.spec.explain import refusal


class Layer(NamedTuple):
    """One convolution with CELU and GroupNorm.

    Attributes:
        channels: of its output.
        kernel: side of the kernel.
        stride: of the convolution.
        upscale: by how much a pixel shuffle enlarges the output; the convolution has upscale^2 times as many channels.
        groups: of the GroupNorm; 1 normalises all channels together.
        padding: on each side; None: (kernel - 1) // 2.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    upscale: int = 1
    groups: int = 1
    padding: int | None = None


def demand_side(key: str, upscales: Sequence[int], size: tuple[int, int]) -> None:
    """Raise RequestError for the setting `key` if upscalings from one place do not reach images of `size`."""
    if size != (math.prod(upscales),) * 2:
        expected = f"factors with a product of {size[0]}" if size[0] == size[1] else "square images"
        raise refusal(key, f"{expected} (images are {size[0]}x{size[1]})", upscales)


def conv_stack(channels: int, layers: Sequence[Layer], *, linear_output: bool = False) -> nn.Sequential:
    """The layers one after another, for an input (B,channels,H,W).

    `linear_output`: the last one has neither CELU nor GroupNorm.
    """
    stack = nn.Sequential()
    for index, layer in enumerate(layers):
        padding = (layer.kernel - 1) // 2 if layer.padding is None else layer.padding
        wide = layer.channels * layer.upscale**2
        stack.append(nn.Conv2d(channels, wide, layer.kernel, layer.stride, padding))
        if layer.upscale > 1:
            stack.append(nn.PixelShuffle(layer.upscale))
        if index + 1 < len(layers) or not linear_output:
            stack.append(nn.CELU())
            stack.append(nn.GroupNorm(layer.groups, layer.channels))
        channels = layer.channels
    return stack
