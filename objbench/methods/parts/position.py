"""The position of a pixel as numbers: coordinates, cosines, and a learned embedding of four ramps."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from objbench.errors import RequestError


def coordinate_grid(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(2,height,width): y, then x, each from -1 at the first row or column to 1 at the last."""
    rows, columns = (torch.linspace(-1, 1, size, device=device) for size in (height, width))
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def cosine_grid(height: int, width: int, frequencies: int) -> Tensor:
    """(F*F - 1,height,width): cos(pi i y) cos(pi j x) for all i, j < F but 0, 0, with y and x from 0 to 1."""
    y, x = (coordinate_grid(height, width) + 1) / 2
    orders = math.pi * torch.arange(frequencies)[:, None, None]
    products: Tensor = (orders * y).cos()[:, None] * (orders * x).cos()
    return products.flatten(0, 1)[1:]


def soft_position_grid(height: int, width: int) -> Tensor:
    """(height,width,4): the ramps y, x, 1-y, 1-x with y and x from 0 to 1."""
    y, x = (coordinate_grid(height, width) + 1) / 2
    return torch.stack((y, x, 1 - y, 1 - x), dim=-1)


class SoftPositionEmbedding(nn.Module):
    """Adds a learned linear map of the four ramps at each place to maps (B,C,H,W) of a fixed `size` (H,W)."""

    def __init__(self, size: tuple[int, int], channels: int) -> None:
        super().__init__()
        self.projection = nn.Linear(4, channels)
        self.ramps: Tensor  # (H,W,4)
        self.register_buffer("ramps", soft_position_grid(*size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C,H,W). Raises RequestError for maps of another size."""
        if x.shape[2:] != self.ramps.shape[:2]:
            built, found = (f"{h}x{w}" for h, w in (self.ramps.shape[:2], x.shape[2:]))
            raise RequestError(
                f"positions of {built} feature maps cannot be added to maps of {found}: "
                "the method was built for images of another size"
            )
        embedding: Tensor = self.projection(self.ramps)  # (H,W,C)
        return x + embedding.movedim(-1, 0)
