"""The spatial transformer of methods that find objects as boxes: images to glimpses, and glimpses back into images.

Jaderberg et al., "Spatial Transformer Networks", NeurIPS 2015, without rotation. A box is `where` = (sx, sy, tx, ty), x
before y: (sx, sy) is its size as a fraction of the image's, (tx, ty) its centre with the image from -1 to 1. Sampling is
bilinear, -1 and 1 are the outer edges of the outer pixels (`align_corners=False`), and outside an image there are zeros.
Everything is at least in float32: in bfloat16 a coordinate would be off by half a pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from objbench.methods.parts.precision import widened


def extract(images: Tensor, where: Tensor, size: tuple[int, int]) -> Tensor:
    """What is in each box.

    Args:
        images: (B,C,H,W).
        where: (B,N,4).
        size: (h,w) of a glimpse.

    Returns:
        Glimpses (B,N,C,h,w).
    """
    scale, centre = widened(where).chunk(2, dim=-1)
    grid = _grid(scale, centre, size)  # of all boxes at once: the images are not repeated for each
    sampled = _sample(widened(images), grid.flatten(1, 2))  # (B,C,Nh,w)
    return torch.unflatten(sampled, 2, grid.shape[1:3]).transpose(1, 2)


def paste(glimpses: Tensor, where: Tensor, size: tuple[int, int], eps: float = 0.0) -> Tensor:
    """Each glimpse in its box on a canvas of its own, which is zero elsewhere: the inverse of `extract`.

    Args:
        glimpses: (B,N,C,h,w).
        where: (B,N,4).
        size: (H,W) of the canvases.
        eps: added to the size of a box before it divides.

    Returns:
        Canvases (B,N,C,H,W).
    """
    scale, centre = widened(where).chunk(2, dim=-1)
    inverse = 1 / (scale + eps)
    grid = _grid(inverse, -centre * inverse, size)
    return torch.unflatten(_sample(widened(glimpses).flatten(0, 1), grid.flatten(0, 1)), 0, grid.shape[:2])


def cell_centres(offset: Tensor, cells: tuple[int, int], side: tuple[float, float] | None = None) -> Tensor:
    """Centres of boxes from their offsets from the middle of their cells: 2 side (index + 0.5 + offset) - 1.

    Args:
        offset: (B,N,2), x before y, in cells; N = rows * columns, row by row. From -1 to 1 (a tanh), a box can be centred
            up to half a cell beyond its own cell.
        cells: (rows, columns).
        side: (width, height) of a cell as a fraction of the image's; None if the cells fill the image.

    Returns:
        (tx, ty), (B,N,2).
    """
    rows, columns = cells
    width, height = side or (1 / columns, 1 / rows)
    y, x = (torch.arange(count, dtype=torch.float32, device=offset.device) + 0.5 for count in cells)
    right, down = widened(offset).unbind(-1)
    # Numbers, not a tensor of them: that would be copied from the host, which a captured step cannot do.
    across = 2 * width * (x.repeat(rows) + right) - 1
    return torch.stack([across, 2 * height * (y.repeat_interleave(columns) + down) - 1], dim=-1)


def boxes(where: Tensor) -> Tensor:
    """Boxes `where` (...,4) as `extras` keep them: (left, top, width, height) in fractions of the image, (...,4)."""
    scale, centre = widened(where).chunk(2, dim=-1)
    return torch.cat([(centre + 1 - scale) / 2, scale], dim=-1)


def _grid(scale: Tensor, centre: Tensor, size: tuple[int, int]) -> Tensor:
    """The places (B,N,h,w,2) scale * p + centre, p the pixels' centres of `size`."""
    height, width = size
    y, x = (torch.arange(1, 2 * n, 2, device=scale.device, dtype=scale.dtype) / n - 1 for n in size)
    columns = scale[..., :1] * x + centre[..., :1]  # (B,N,w)
    rows = scale[..., 1:] * y + centre[..., 1:]  # (B,N,h)
    shape = (*scale.shape[:2], height, width)
    return torch.stack([columns[..., None, :].expand(shape), rows[..., None].expand(shape)], dim=-1)


def _sample(maps: Tensor, grid: Tensor) -> Tensor:
    """Values (M,C,h,w) of maps (M,C,H,W) at the places (M,h,w,2)."""
    with torch.autocast(maps.device.type, enabled=False):
        return grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
