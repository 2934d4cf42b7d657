"""Noise without storage: lattice values hashed from integers, the ground that every texture stands on.

All functions take points (3,M) in units of the lattice and seeds int32 (M,), so that one call serves points of many
objects. Integer products wrap at 32 bits.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

_PRIMES = (0x2C9277B5, 0x5A1F9E45 - (1 << 31), 0x1B873593)
_UNIT = 2.0**-24
_SCATTER = 0.7  # of the seeds of cells


class Cells(NamedTuple):
    """The cells of scattered seeds at M points."""

    nearest: Tensor  # distance to the nearest seed
    second: Tensor  # and to the one after it
    number: Tensor  # random in [0,1), of the nearest seed


def noise(points: Tensor, seed: Tensor) -> Tensor:
    """Gradient noise (Perlin, 1985) in about [-1,1], zero on the lattice; features as large as its cells."""
    whole = points.floor()
    part = points - whole
    fade = part * part * part * (part * (part * 6 - 15) + 10)
    lattice = whole.to(torch.int32)
    x, y, z = (_axis(lattice[i], i) for i in range(3))
    corners = []
    for i, j, k in product((0, 1), repeat=3):
        bits = _mix(x[i] ^ y[j] ^ z[k] ^ seed)
        slope = [((bits >> shift) & 1023).to(points.dtype) - 511.5 for shift in (0, 10, 20)]
        corners.append(slope[0] * (part[0] - i) + slope[1] * (part[1] - j) + slope[2] * (part[2] - k))
    for axis in (2, 1, 0):
        corners = [a + fade[axis] * (b - a) for a, b in zip(corners[::2], corners[1::2], strict=True)]
    return corners[0] * (1.5 / 512)


def fbm(points: Tensor, seed: Tensor, blur: Tensor, octaves: int, gain: Tensor | float = 0.5) -> Tensor:
    """Noise on several scales, each half as large; those finer than `blur` (M,) are left out. About [-1,1]."""
    total = torch.zeros_like(points[0])
    weight: Tensor | float = 1.0
    square: Tensor | float = 0.0
    for octave in range(octaves):
        size = 2.03**octave
        total += weight * fading(blur * size) * noise(points * size + 7.3 * octave, seed + 101 * octave)
        square = square + weight * weight
        weight = weight * gain
    normed: Tensor = total / square**0.5
    return normed


def fading(blur: Tensor) -> Tensor:
    """How much (M,) of a feature of size one is left when points stand `blur` apart."""
    return (1.6 - 1.8 * blur).clamp(0, 1)


def cells(points: Tensor, seed: Tensor) -> Cells:
    """The cells (Worley, 1996) of one seed in each cube of the lattice, at most 0.35 off its middle.

    The eight cubes around a point are looked at.
    """
    low = (points - 0.5).floor()
    lattice = low.to(torch.int32)
    x, y, z = (_axis(lattice[i], i) for i in range(3))
    part = points - low - 0.5
    nearest = torch.full_like(points[0], 9.0)
    second, number = nearest, torch.zeros_like(nearest)
    for i, j, k in product((0, 1), repeat=3):
        bits = _mix(x[i] ^ y[j] ^ z[k] ^ seed)
        offset = [
            part[axis] - at - _SCATTER * (((bits >> shift) & 1023).to(points.dtype) * (1 / 1024) - 0.5)
            for axis, (at, shift) in enumerate(((i, 0), (j, 10), (k, 20)))
        ]
        square = offset[0] * offset[0] + offset[1] * offset[1] + offset[2] * offset[2]
        closer = square < nearest
        second = torch.where(closer, nearest, torch.minimum(second, square))
        number = torch.where(closer, (_mix(bits) & 0xFFFFFF).to(points.dtype) * _UNIT, number)
        nearest = torch.minimum(nearest, square)
    return Cells(nearest.sqrt(), second.sqrt(), number)


def dice(column: Tensor, row: Tensor, seed: Tensor) -> Tensor:
    """Random numbers (M,) in [0,1) for the whole numbers `column` and `row` (M,)."""
    x, y = (part.to(torch.int32) * prime for part, prime in zip((column, row), _PRIMES[:2], strict=True))
    return (_mix(_mix(x ^ y ^ seed)) & 0xFFFFFF).to(column.dtype) * _UNIT


def _axis(lattice: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """What the coordinate of both neighbours on the lattice adds to the hash."""
    here = lattice * _PRIMES[axis]
    return here, here + _PRIMES[axis]


def _mix(bits: Tensor) -> Tensor:
    """Every bit of the 32 changed by every other (after Wellons' search for such mixers)."""
    bits = bits ^ ((bits >> 16) & 0xFFFF)
    bits = bits * 0x21F0AAAD
    bits = bits ^ ((bits >> 15) & 0x1FFFF)
    bits = bits * 0x735A2D97
    return bits ^ ((bits >> 15) & 0x1FFFF)
