"""Partial convolution of whole images: zero padding does not darken the border.

Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions", ECCV 2018, divide the response by the share
of the kernel that covers known pixels. Without holes the only unknown pixels are the padding, so that the share is a
fixed map: a convolution with zero padding whose response, without bias, is larger at the border.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

KERNEL = 3


class PartialConv(nn.Conv2d):
    """A 3x3 convolution with a border of zeros, (B,C,H,W) -> (B,D,ceil(H/stride),ceil(W/stride)).

    Args:
        inputs: C.
        outputs: D.
        size: (H,W).
        stride: of the convolution.
    """

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], stride: int = 1) -> None:
        super().__init__(inputs, outputs, KERNEL, stride, padding=KERNEL // 2)
        rows, columns = (_enlargement(length, stride) for length in size)
        self.enlargement: Tensor  # (h,w), 9 / number of pixels under the kernel that are not padding
        self.register_buffer("enlargement", rows[:, None] * columns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,D,h,w)."""
        response = conv2d(x, self.weight, None, self.stride, self.padding)
        assert self.bias is not None
        bias = self.bias.to(response.dtype)[:, None, None]
        return response * self.enlargement.to(response.dtype) + bias


def _enlargement(length: int, stride: int) -> Tensor:
    """3 / number of pixels under the kernel, along one axis."""
    middle = torch.arange(0, length, stride)
    covered = (middle + 1).clamp(max=length - 1) - (middle - 1).clamp(min=0) + 1
    return KERNEL / covered
