"""How MarioNette lays windows on a canvas: four groups that tile it, painted over each other.

The canvas is a grid of n x n cells with an anchor each; n is even. An anchor owns the window that is centred on its cell
and twice as wide. Windows overlap, but not those of anchors whose rows and columns are of equal parity: each of the four
groups (even or odd row, even or odd column) tiles the canvas, shifted by half a cell. Where it leaves the canvas it is
cut, and where it does not reach there is nothing.

A pixel so belongs to at most one anchor of each group. What is seen of an anchor is what is seen of its group where it
owns the pixels, and there is no need of a canvas per anchor.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from objbench.methods.parts.precision import widened

PARITIES = ((0, 0), (0, 1), (1, 0), (1, 1))  # (row, column) of the anchors of each group


class Painting(NamedTuple):
    """A picture and what is seen in it, in painting order."""

    picture: Tensor  # (B,3,H,W)
    seen: Tensor  # (B,1+P,H,W): weights of the background and the P canvases, which sum to one


def image_windows(images: Tensor, anchors: int) -> Tensor:
    """The window (B,n,n,C,2s,2s) of each anchor, s = H / n; zeros outside of images (B,C,H,H)."""
    side = images.shape[-1] // anchors
    padded = pad(images, (side // 2,) * 4)
    found = padded.unfold(2, 2 * side, side).unfold(3, 2 * side, side)  # (B,C,n,n,2s,2s)
    return found.permute(0, 2, 3, 1, 4, 5)


def moved(windows: Tensor, shift: Tensor) -> Tensor:
    """Move what windows show; at least in float32.

    Args:
        windows: (N,4,w,w), colours and alpha.
        shift: (N,2), to the right and down, with a window from -1 to 1.

    Returns:
        (N,4,w,w): colours beyond the edge are those of the edge, alpha there is 0.
    """
    windows, shift = widened(windows), widened(shift)
    side = windows.shape[-1]
    places = torch.arange(1, 2 * side, 2, device=windows.device, dtype=windows.dtype) / side - 1
    shape = (len(windows), side, side)
    columns = (places - shift[:, :1])[:, None, :].expand(shape)
    rows = (places - shift[:, 1:])[:, :, None].expand(shape)
    grid = torch.stack([columns, rows], dim=-1)
    with torch.autocast(windows.device.type, enabled=False):
        colours = grid_sample(windows[:, :3], grid, padding_mode="border", align_corners=False)
        alpha = grid_sample(windows[:, 3:], grid, padding_mode="zeros", align_corners=False)
    return torch.cat([colours, alpha], dim=1)


def group_canvases(windows: Tensor) -> Tensor:
    """The windows (B,L,n,n,C,2s,2s) of L layers as four canvases each, (B,L,4,C,ns,ns); zeros where no window reaches."""
    half = windows.shape[-1] // 4
    canvases = []
    for row, column in PARITIES:
        own = windows[:, :, row::2, column::2]  # (B,L,n/2,n/2,C,2s,2s)
        tiles = own.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)  # (B,L,C,ns,ns)
        down, right = (half if odd else -half for odd in (row, column))
        canvases.append(pad(tiles, (right, -right, down, -down)))
    return torch.stack(canvases, dim=2)


def owners(anchors: int, side: int) -> Tensor:
    """The number of the anchor, row by row, that owns each pixel of each group's canvas; int64 (4,H,H).

    Where no anchor does, it is the number of any: there alpha is 0.

    Args:
        anchors: n, per row and column.
        side: H.
    """
    cell = side // anchors
    pixel = torch.arange(side)
    # Windows of parity p start at (2 t + p) s - s / 2.
    owner = [(pixel + cell // 2 - p * cell).div(2 * cell, rounding_mode="floor") * 2 + p for p in (0, 1)]
    owner = [index.clamp(0, anchors - 1) for index in owner]
    return torch.stack([owner[row][:, None] * anchors + owner[column] for row, column in PARITIES])


def in_order(canvases: Tensor, order: Tensor) -> Tensor:
    """The canvases (B,L,4,C,H,W) one after another as they are painted, (B,4L,C,H,W).

    Args:
        canvases: four per layer.
        order: int64 (B,4), the groups as they are painted, in each layer.
    """
    chosen = order[:, None, :, None, None, None].expand(canvases.shape)
    return canvases.gather(2, chosen).flatten(1, 2)


def paint_over(background: Tensor, canvases: Tensor) -> Painting:
    """Paint canvases (B,P,4,H,W), colours and alpha, one after another on a background (B,3,H,W)."""
    colours, alpha = canvases[:, :, :3], canvases[:, :, 3]
    left = torch.ones_like(alpha[:, 0])
    seen = []
    for index in reversed(range(alpha.shape[1])):
        seen.append(alpha[:, index] * left)
        left = left * (1 - alpha[:, index])
    weights = torch.stack([left, *reversed(seen)], dim=1)
    picture = weights[:, :1] * background + (weights[:, 1:, None] * colours).sum(1)
    return Painting(picture, weights)


def most_seen(seen: Tensor, order: Tensor, owner: Tensor, anchors: int) -> Tensor:
    """What is seen most at each pixel: 0 for the background, 1 + number of the anchor, layer by layer; int64 (B,H,W).

    Equal to the arg-max over a plane per anchor, in which the lowest number wins ties.

    Args:
        seen: (B,1+4L,H,W), of a Painting.
        order: int64 (B,4).
        owner: int64 (4,H,W), of `owners`.
        anchors: of a layer.
    """
    layers = seen.shape[1] // 4
    of_groups = owner[order]  # (B,4,H,W)
    numbers = [
        torch.zeros_like(of_groups[:, :1]),
        *(1 + layer * anchors + of_groups for layer in range(layers)),
    ]
    number = torch.cat(numbers, dim=1)
    none = 1 + layers * anchors
    best = seen.amax(1, keepdim=True)
    return number.masked_fill(seen < best, none).amin(1)
