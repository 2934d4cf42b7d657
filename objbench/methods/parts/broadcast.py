"""The spatial broadcast decoder: convolutions turn a vector, copied to every place of a grid, into an image.

Watters et al., "Spatial Broadcast Decoder: A Simple Architecture for Learning Disentangled Representations in VAEs",
2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from objbench.methods.parts.position import SoftPositionEmbedding


class Conv(NamedTuple):
    """One convolution of a decoder.

    Attributes:
        channels: of its output.
        kernel: side of the kernel.
        stride: 1 for a convolution; from 2 up to the kernel for a transposed one, whose output is so many times as
            large as its input.
        padding: of a convolution, on each side; None keeps the size (odd kernels), 0 is the `valid` form.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int | None = None

    def size_before(self, size: int) -> int:
        """The smallest input height (or width) that gives an output of at least `size`."""
        if self.stride > 1:
            return -(-size // self.stride)
        return size + self.kernel - 1 - 2 * self._padding

    def build(self, channels: int) -> nn.Module:
        """The layer, for an input of so many channels."""
        if self.stride == 1:
            return nn.Conv2d(channels, self.channels, self.kernel, padding=self._padding)
        missing = self.stride - self.kernel + 2 * self._padding
        return nn.ConvTranspose2d(
            channels, self.channels, self.kernel, self.stride, self._padding, output_padding=missing
        )

    @property
    def _padding(self) -> int:
        return (self.kernel - self.stride + 1) // 2 if self.padding is None else self.padding


class SpatialBroadcastDecoder(nn.Module):
    """z (B,Z) -> (B,C,H,W), where C is the channels of the last layer, which has neither norm nor activation.

    The grid has the size from which the layers reach the image: unpadded convolutions make it larger, strides smaller.
    Where a stride does not divide the size, the output is cropped at the bottom and on the right.

    Args:
        latent: Z.
        size: (H,W) of the images.
        layers: the convolutions, from the grid to the image.
        planes: gives the planes (P,height,width) that are appended to z on a grid (height, width), such as
            `coordinate_grid`; None adds a soft position embedding instead.
        activation: between the layers.
        norm: gives the norm before each activation from its number of channels; None for no norm.
    """

    def __init__(
        self,
        latent: int,
        size: tuple[int, int],
        layers: Sequence[Conv],
        *,
        planes: Callable[[int, int], Tensor] | None = None,
        activation: type[nn.Module] = nn.ReLU,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.size, self.grid = size, grid_size(size, layers)
        self.position: nn.Module
        if planes is None:
            self.position, channels = SoftPositionEmbedding(self.grid, latent), latent
        else:
            appended = planes(*self.grid)
            self.position, channels = Append(appended), latent + len(appended)
        self.layers = nn.Sequential()
        for layer in layers:
            if len(self.layers):
                if norm is not None:
                    self.layers.append(norm(channels))
                self.layers.append(activation())
            self.layers.append(layer.build(channels))
            channels = layer.channels

    def forward(self, z: Tensor) -> Tensor:
        """(B,Z) -> (B,C,H,W)."""
        tiled = z[:, :, None, None].expand(-1, -1, *self.grid)
        maps: Tensor = self.layers(self.position(tiled))
        height, width = self.size
        return maps[:, :, :height, :width]


def grid_size(size: tuple[int, int], layers: Sequence[Conv]) -> tuple[int, int]:
    """Height and width of the grid from which `layers` reach an image of at least `size`."""
    height, width = size
    for layer in reversed(layers):
        height, width = layer.size_before(height), layer.size_before(width)
    return height, width


class Append(nn.Module):
    """Appends fixed planes (P,H,W) to maps (B,C,H,W)."""

    def __init__(self, planes: Tensor) -> None:
        super().__init__()
        self.planes: Tensor
        self.register_buffer("planes", planes, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.planes.to(x.dtype).expand(len(x), -1, -1, -1)), dim=1)
