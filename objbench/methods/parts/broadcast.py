"""The spatial broadcast decoder: a vector, copied to every place of a grid, becomes an image by convolutions.

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

    stride   1: a convolution;  s > 1, up to the kernel: a transposed one that makes maps exactly s times as large
    padding  of a convolution, on each side; None: as much as keeps the size (odd kernels);  0: the `valid` form
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int | None = None

    def size_before(self, size: int) -> int:
        """The least height (or width) of a map of which this layer makes one of at least `size`."""
        if self.stride > 1:
            return -(-size // self.stride)
        return size + self.kernel - 1 - 2 * self._padding

    def build(self, channels: int) -> nn.Module:
        """The layer, for maps of so many channels."""
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
    """z (B,Z) -> (B,C,H,W), raw: C is the channels of the last layer, which has neither norm nor activation.

    size    (H,W) of the images. The grid is as large as the layers need to end there: larger by what unpadded
            convolutions take away, smaller by what strides give. Where a stride does not divide the size, what
            reaches beyond the image at the bottom and on the right is cut off.
    planes  of a grid (height, width), the planes (P,height,width) to append to z at every place: `coordinate_grid`,
            for one. None: a soft position embedding is added instead.
    groups  of the GroupNorm before each activation; None: no norm
    """

    def __init__(
        self,
        latent: int,
        size: tuple[int, int],
        layers: Sequence[Conv],
        *,
        planes: Callable[[int, int], Tensor] | None = None,
        activation: type[nn.Module] = nn.ReLU,
        groups: int | None = None,
    ) -> None:
        super().__init__()
        self.size, self.grid = size, grid_size(size, layers)
        self.position: nn.Module
        if planes is None:
            self.position, channels = SoftPositionEmbedding(self.grid, latent), latent
        else:
            appended = planes(*self.grid)
            self.position, channels = _Append(appended), latent + len(appended)
        self.layers = nn.Sequential()
        for layer in layers:
            if len(self.layers):
                if groups is not None:
                    self.layers.append(nn.GroupNorm(groups, channels))
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
    """Height and width of the grid from which `layers` get to an image of at least `size`."""
    height, width = size
    for layer in reversed(layers):
        height, width = layer.size_before(height), layer.size_before(width)
    return height, width


class _Append(nn.Module):
    """Appends fixed planes (P,H,W) to maps (B,C,H,W)."""

    def __init__(self, planes: Tensor) -> None:
        super().__init__()
        self.planes: Tensor
        self.register_buffer("planes", planes, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.planes.to(x.dtype).expand(len(x), -1, -1, -1)), dim=1)
