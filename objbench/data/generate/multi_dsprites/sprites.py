"""The sprites of dSprites, drawn as bits: a row of 64 pixels is one 64-bit word.

Calibrated on the 320 frames of the official animation (Matthey et al., dSprites, 2017): a pixel belongs to a sprite
where its centre lies inside the outline, without anti-aliasing. At scale 1 the outlines are a square of side 19.2, an
ellipse with the half-axes below, and the heart x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t,
stretched and shifted. Orientation turns them counter-clockwise as seen on the screen.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from objbench.random import cos_sin_turns

SIDE = 64
SQUARE, ELLIPSE, HEART = 1, 2, 3  # shape codes; 0 = background
FIRST_CENTRE, TRAVEL = 15.5, 32.0  # the centre of a sprite at position p is pixel 15.5 + 32 p

SQUARE_HALF = 9.6
ELLIPSE_HALVES = (12.77, 7.21)
HEART_STRETCH = (0.6, 0.6625)  # across and upright
HEART_RISE = 1.44
HEART_VERTICES = 128
_REACH = 13.6  # no outline is further than this from its centre, 9.6 sqrt(2)
_ROWS = 28  # pixel rows that a sprite can touch


class Sprites(NamedTuple):
    """S sprites, each field (S,): shape int64 code; the rest float64 in upstream's units, turns in full turns."""

    shape: Tensor
    x: Tensor
    y: Tensor
    scale: Tensor
    turns: Tensor


def cover(sprites: Sprites) -> Tensor:
    """The pixels that each sprite covers when drawn alone: int64 (S,64), bit c of word r for row r, column c.

    Only operations that IEEE 754 fixes to the bit, in float64: equal on every device.
    """
    row, column = FIRST_CENTRE + TRAVEL * sprites.y, FIRST_CENTRE + TRAVEL * sprites.x
    rows = (row - _REACH).ceil().long()[:, None] + torch.arange(_ROWS, device=row.device)  # (S,28)
    up = row[:, None] - rows.double()  # from the sprite's centre
    cosine, sine = cos_sin_turns(sprites.turns)
    words = torch.zeros_like(rows)
    for shape, outline in ((SQUARE, _square), (ELLIPSE, _ellipse), (HEART, _heart)):
        chosen = (sprites.shape == shape).nonzero().flatten()
        pose = [values[chosen, None] for values in (column, sprites.scale, cosine, sine)]
        words[chosen] = outline(up[chosen], *pose)
    covered = torch.zeros(len(rows), SIDE, dtype=torch.int64, device=row.device)
    return covered.scatter_(1, rows, words)


def _square(up: Tensor, column: Tensor, scale: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """The words of squares: in each row the interval where two slabs meet."""
    half = SQUARE_HALF * scale
    first = _slab(up * sine, cosine, half)
    second = _slab(up * cosine, -sine, half)
    return _between(column + torch.maximum(first[0], second[0]), column + torch.minimum(first[1], second[1]))


def _slab(offset: Tensor, slope: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of the x with |offset + slope x| <= half."""
    # A slope of 0 would give 0/0 where the edge runs through a row of pixel centres.
    slope = torch.where(slope.abs() < 1e-12, 1e-12, slope)
    a, b = (-half - offset) / slope, (half - offset) / slope
    return torch.minimum(a, b), torch.maximum(a, b)


def _ellipse(up: Tensor, column: Tensor, scale: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """The words of ellipses: in each row the interval between the roots of a quadratic."""
    across, upright = (1 / half**2 for half in ELLIPSE_HALVES)
    a = cosine * cosine * across + sine * sine * upright
    b = sine * cosine * (across - upright)
    c = sine * sine * across + cosine * cosine * upright
    middle = -b / a * up
    square = middle * middle - (c * up * up - scale * scale) / a
    reach = torch.where(square >= 0, square, torch.nan).sqrt()
    return _between(column + middle - reach, column + middle + reach)


def _heart(up: Tensor, column: Tensor, scale: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """The words of hearts: a pixel is inside if an odd number of edges cross its row to its left."""
    vertices = _heart_outline(up.device) * scale[..., None]  # (S,V+1,2)
    x = column + vertices[..., 0] * cosine - vertices[..., 1] * sine
    y = vertices[..., 0] * sine + vertices[..., 1] * cosine  # (S,V+1), upwards
    slope = x.diff(dim=1) / y.diff(dim=1)
    start = x[:, :-1] - y[:, :-1] * slope
    words = torch.zeros_like(up, dtype=torch.int64)
    below = up >= y[:, :1]
    for i in range(HEART_VERTICES):
        was_below, below = below, up >= y[:, i + 1 : i + 2]
        crossing = up * slope[:, i : i + 1] + start[:, i : i + 1]
        words ^= _from(torch.where(was_below ^ below, crossing, torch.inf))
    return words


@cache
def _heart_outline(device: torch.device) -> Tensor:
    """The vertices of the upright heart, the first one repeated at the end: float64 (V+1,2), x and y upwards."""
    points = []
    for i in range(HEART_VERTICES + 1):
        t = 2 * math.pi * (i % HEART_VERTICES) / HEART_VERTICES
        x = HEART_STRETCH[0] * 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        # Rounded, for the last bit of a sine differs between machines.
        points.append((round(x, 6), round(HEART_STRETCH[1] * y + HEART_RISE, 6)))
    return torch.tensor(points, dtype=torch.float64, device=device)


def _between(low: Tensor, high: Tensor) -> Tensor:
    """The bits of the columns in [low, high]; none where low > high or either is NaN."""
    inside = low <= high
    return _from(torch.where(inside, low, torch.inf)) & ~_from(
        torch.where(inside, high.floor() + 1, -torch.inf)
    )


def _from(column: Tensor) -> Tensor:
    """The bits of the columns at or right of `column`."""
    return _suffixes(column.device)[column.clamp(0, SIDE).ceil().long()]


@cache
def _suffixes(device: torch.device) -> Tensor:
    """int64 (65,): word c has the bits c..63 set."""
    return torch.tensor([-1 << c if c < SIDE else 0 for c in range(SIDE + 1)], device=device)
