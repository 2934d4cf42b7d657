"""Boxes that overlap, mixed pixel by pixel by their importance.

Each box has a glimpse of colours, alpha and importance, which the spatial transformer places on the image. The weight of
a box at a pixel is its share of the importance there, and the methods differ in what a share is: a softmax over the boxes
(SPACE), the importance divided by the sum (GNM), or the same with a floor (SPAIR*).

`composite` never holds the canvases of all boxes: it goes over a few boxes at a time with running sums, and computes
their canvases a second time in the backward pass. `canvases` and `weights` are the plain form, for `segment`.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from objbench.methods.parts.precision import widened
from objbench.methods.parts.spatial_transformer import paste


class Weighing(NamedTuple):
    """How importance becomes weights.

    Attributes:
        softmax: exp(importance) / sum exp(importance), over all boxes: those that do not cover the pixel count too, with
            an importance of 0. Otherwise importance / (sum + eps).
        floor: least importance of a box at any pixel, without softmax.
        eps: added to the sum, without softmax.
    """

    softmax: bool = False
    floor: float = 0.0
    eps: float = 0.0


class Glimpses(NamedTuple):
    """What the boxes hold; all (B,N,C,h,w), of one size.

    Attributes:
        colours: C = 3.
        alpha: C = 1, times presence.
        importance: C = 1.
        summed: any C: maps of which only the sum over the boxes is wanted, without weights; None for none.
        premultiplied: whether the colours are already multiplied by alpha; if not, that is done after placing.
    """

    colours: Tensor
    alpha: Tensor
    importance: Tensor
    summed: Tensor | None = None
    premultiplied: bool = True

    def select(self, start: int, stop: int) -> Glimpses:
        """The glimpses of the boxes from `start` to before `stop`."""
        part = slice(start, stop)
        return Glimpses(
            self.colours[:, part],
            self.alpha[:, part],
            self.importance[:, part],
            None if self.summed is None else self.summed[:, part],
            self.premultiplied,
        )


class Composite(NamedTuple):
    """The boxes as one picture.

    Attributes:
        colours: (B,3,H,W), the weighted sum of alpha times colour.
        alpha: (B,1,H,W), the weighted sum of alpha.
        summed: (B,C,H,W), the plain sum of `Glimpses.summed`; C = 0 without.
    """

    colours: Tensor
    alpha: Tensor
    summed: Tensor


class _Sums(NamedTuple):
    """Running sums; with a softmax, `total` and `mixed` are in units of exp(highest)."""

    highest: Tensor  # (B,1,H,W), of the importance so far
    total: Tensor  # (B,1,H,W), of importance or its exponential
    mixed: Tensor  # (B,4,H,W), of that times colours and alpha
    summed: Tensor  # (B,C,H,W)


def canvases(glimpses: Glimpses, where: Tensor, size: tuple[int, int], eps: float = 0.0) -> Glimpses:
    """The glimpses in their boxes: (B,N,C,H,W), with colours multiplied by alpha. `eps` is that of `paste`."""
    summed = glimpses.summed if glimpses.summed is not None else glimpses.alpha[:, :, :0]
    maps = torch.cat([widened(part) for part in (*glimpses[:3], summed)], dim=2)
    placed = paste(maps, where, size, eps)
    colours, alpha, importance, summed = (
        placed[:, :, :3],
        placed[:, :, 3:4],
        placed[:, :, 4:5],
        placed[:, :, 5:],
    )
    return Glimpses(colours if glimpses.premultiplied else colours * alpha, alpha, importance, summed)


def weights(importance: Tensor, weighing: Weighing) -> Tensor:
    """The weight of each box at each pixel, from placed importance (B,N,1,H,W); sums to one over N if eps is 0."""
    if weighing.softmax:
        return importance.softmax(1)
    floored = importance.clamp(min=weighing.floor)
    return floored / (floored.sum(1, keepdim=True) + weighing.eps)


def composite(
    glimpses: Glimpses,
    where: Tensor,
    size: tuple[int, int],
    weighing: Weighing,
    *,
    eps: float = 0.0,
    chunk: int | None = None,
) -> Composite:
    """All boxes as one picture.

    Args:
        glimpses: of N boxes.
        where: (B,N,4).
        size: (H,W).
        weighing: how importance becomes weights.
        eps: that of `paste`.
        chunk: boxes whose canvases are in memory at once, in both passes; None for all, which is faster.
    """
    boxes = where.shape[1]
    step = chunk or boxes
    add = partial(_add, size=size, weighing=weighing, eps=eps)
    sums: _Sums | None = None
    for start in range(0, boxes, step):
        some, their = glimpses.select(start, start + step), where[:, start : start + step]
        if step < boxes:
            # Nothing in it is random, and the state of the generator cannot be read while a graph is captured.
            sums = checkpoint(add, sums, some, their, use_reentrant=False, preserve_rng_state=False)
        else:
            sums = add(sums, some, their)
    assert sums is not None
    mixed = sums.mixed / (sums.total + (0.0 if weighing.softmax else weighing.eps))
    return Composite(mixed[:, :3], mixed[:, 3:], sums.summed)


def _add(
    sums: _Sums | None,
    glimpses: Glimpses,
    where: Tensor,
    *,
    size: tuple[int, int],
    weighing: Weighing,
    eps: float,
) -> _Sums:
    """`sums` with a few more boxes."""
    placed = canvases(glimpses, where, size, eps)
    assert placed.summed is not None
    highest = placed.importance.detach().amax(1)
    if sums is not None:
        highest = torch.maximum(highest, sums.highest)
    if weighing.softmax:
        share = (placed.importance - highest[:, None]).exp()
    else:
        share = placed.importance.clamp(min=weighing.floor)
    total, mixed = share.sum(1), (share * torch.cat([placed.colours, placed.alpha], dim=2)).sum(1)
    summed = placed.summed.sum(1)
    if sums is None:
        return _Sums(highest, total, mixed, summed)
    shrink = (sums.highest - highest).exp() if weighing.softmax else 1.0
    return _Sums(highest, total + shrink * sums.total, mixed + shrink * sums.mixed, summed + sums.summed)
