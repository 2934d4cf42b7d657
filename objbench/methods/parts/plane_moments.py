"""Colour and place of the segments of an image: what a mask alone says of its object."""

from __future__ import annotations

import torch
from torch import Tensor

MOMENTS = 9


def plane_moments(images: Tensor, labels: Tensor, planes: int) -> Tensor:
    """Mean colour, area and moments of each segment.

    Args:
        images: float (B,3,H,W) in [0,1].
        labels: int64 (B,H,W), 0..planes-1.
        planes: M, the number of planes.

    Returns:
        float32 (B,M,9): mean red, green and blue in [0,1]; area as a fraction of the image; row and column of the centre
        in (0,1); variance of the rows, covariance, variance of the columns, in squared fractions of the sides. All zero
        for a plane without a pixel.

    Example:
        >>> image = torch.tensor([[[[0.0, 1.0]]] * 3])
        >>> plane_moments(image.view(1, 3, 1, 2), torch.tensor([[[0, 1]]]), 2)[0, 1, :6].tolist()
        [1.0, 1.0, 1.0, 0.5, 0.5, 0.75]
    """
    B, _, H, W = images.shape
    rows = ((torch.arange(H, dtype=torch.float64, device=images.device) + 0.5) / H).view(H, 1).expand(H, W)
    columns = ((torch.arange(W, dtype=torch.float64, device=images.device) + 0.5) / W).expand(H, W)
    place = torch.stack([torch.ones_like(rows), rows, columns, rows**2, rows * columns, columns**2])
    values = torch.cat([images.double(), place.expand(B, -1, -1, -1)], 1).flatten(2)  # B,9,HW
    index = labels.flatten(1)[:, None].expand_as(values)
    sums = values.new_zeros(B, MOMENTS, planes).scatter_add_(2, index, values)
    color, pixels, place = sums[:, :3], sums[:, 3:4], sums[:, 4:]
    count = pixels.clamp(min=1)
    row, column, row_row, row_column, column_column = (place / count).unbind(1)
    spread = torch.stack([row_row - row**2, row_column - row * column, column_column - column**2], 1)
    found = torch.cat([color / count, pixels / (H * W), torch.stack([row, column], 1), spread], 1)
    return found.transpose(1, 2).float()
