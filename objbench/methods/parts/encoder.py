"""The encoder of Slot Attention and the methods that follow it: one vector for each place of an image."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from objbench.methods.parts.position import SoftPositionEmbedding

KERNEL = 5
Strides = Annotated[list[Annotated[int, Field(ge=1, le=KERNEL)]], Field(min_length=1)]


class Encoder(nn.Module):
    """Images (B,3,H,W) -> features (B,N,C) of N places, row by row: convolutions, positions, an MLP at each place.

    The layer norm is over the features of one place.

    Args:
        image_size: (H,W).
        channels: C.
        strides: of the 5x5 convolutions, one each.
        norm_eps: of the layer norm.

    Attributes:
        size: (h,w) of the output, N = hw.
    """

    def __init__(
        self, image_size: tuple[int, int], channels: int, strides: list[int], norm_eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.convolutions = nn.Sequential()
        height, width = image_size
        for index, stride in enumerate(strides):
            before = channels if index else 3
            self.convolutions.append(nn.Conv2d(before, channels, KERNEL, stride, padding=KERNEL // 2))
            self.convolutions.append(nn.ReLU())
            height, width = -(-height // stride), -(-width // stride)
        self.size = (height, width)
        self.position = SoftPositionEmbedding(self.size, channels)
        self.norm = nn.LayerNorm(channels, norm_eps)
        self.mlp = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels))

    def forward(self, images: Tensor) -> Tensor:
        """(B,3,H,W) -> (B,N,C). Raises RequestError for images of another size."""
        maps = self.position(self.convolutions(images))  # (B,C,h,w)
        features: Tensor = self.mlp(self.norm(maps.flatten(2).mT))
        return features
