"""The U-Net of MONet and GENESIS-V2: one convolution per scale in each direction, an MLP in the middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from objbench.spec.explain import refusal

GROUPS = 8  # of channels, of `group_norm`
HIDDEN = 128  # units of both hidden layers of the MLP, in the published codes of MONet and GENESIS-V2

Norm = Callable[[int], nn.Module]  # number of channels -> normalisation layer


def instance_norm(channels: int) -> nn.Module:
    """The norm of MONet: of each channel of each image by itself, with a learned scale and shift."""
    return nn.InstanceNorm2d(channels, affine=True)


def group_norm(channels: int) -> nn.Module:
    """The norm of GENESIS-V2: of eight groups of channels."""
    return nn.GroupNorm(GROUPS, channels)


class UNet(nn.Module):
    """Images (B,inputs,H,W) to maps (B,outputs,H,W), or (B,channels[0],H,W) where `outputs` is None.

    Way down: convolution (3x3, no bias), norm, ReLU at each scale, kept as a skip, then every second pixel.
    Middle: the coarsest map as a whole through an MLP with two hidden layers.
    Way up: the same block on the skip and the map of the coarser scale, then each pixel twice.
    At last a 1x1 convolution, if `outputs` is given.

    Args:
        size: (H,W) of the images. Where they do not halve evenly, they are padded at the bottom and on the right by
            repeating the last row and column, and the maps are cropped.
        inputs: channels of the images.
        outputs: channels of the maps; None for the features of the finest scale.
        channels: one per scale, the finest first; the way up mirrors the way down.
        norm: after each convolution, `instance_norm` or `group_norm`.
    """

    def __init__(
        self,
        size: tuple[int, int],
        inputs: int,
        outputs: int | None,
        channels: Sequence[int],
        norm: Norm,
    ) -> None:
        super().__init__()
        factor = 2 ** (len(channels) - 1)
        self.size = size
        self.padding = (-size[1] % factor, -size[0] % factor)  # right, below
        coarsest = (channels[-1], -(-size[0] // factor), -(-size[1] // factor))
        sources = [inputs, *channels[:-1]]
        targets = [channels[0], *channels[:-1]]  # from each scale to the next finer one
        self.down = nn.ModuleList(_block(i, o, norm) for i, o in zip(sources, channels, strict=True))
        self.middle = _bottleneck(coarsest)
        self.up = nn.ModuleList(_block(2 * i, o, norm) for i, o in zip(channels, targets, strict=True))
        self.head = nn.Identity() if outputs is None else nn.Conv2d(channels[0], outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Maps of the size of the images."""
        right, below = self.padding
        x = pad(images, (0, right, 0, below), mode="replicate") if right or below else images
        skips = []
        for scale, block in enumerate(self.down):
            x = block(x[:, :, ::2, ::2] if scale else x)
            skips.append(x)
        x = self.middle(x)
        for scale in reversed(range(len(self.up))):
            x = self.up[scale](torch.cat([x, skips[scale]], dim=1))
            if scale:
                x = interpolate(x, scale_factor=2.0, mode="nearest")
        maps: Tensor = self.head(x)
        return maps[:, :, : self.size[0], : self.size[1]]


def demand_pixels(key: str, channels: Sequence[int], size: tuple[int, int], norm: Norm) -> None:
    """Raise RequestError for the setting `key` if the coarsest scale is a single pixel, which its norm makes 0."""
    left = [-(-side // 2 ** (len(channels) - 1)) for side in size]
    if left == [1, 1] and (norm is instance_norm or channels[-1] == GROUPS):
        expected = (
            f"fewer scales (a U-Net of {len(channels)} leaves a single pixel of images of {size[0]}x{size[1]}, "
            "which its norm makes 0)"
        )
        raise refusal(key, expected, channels)


def _block(inputs: int, outputs: int, norm: Norm) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), norm(outputs), nn.ReLU())


def _bottleneck(shape: tuple[int, int, int]) -> nn.Module:
    flat = prod(shape)
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(flat, HIDDEN), nn.ReLU()),
        *(nn.Linear(HIDDEN, HIDDEN), nn.ReLU()),
        *(nn.Linear(HIDDEN, flat), nn.ReLU()),
        nn.Unflatten(1, shape),
    )
