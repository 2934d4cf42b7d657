"""CLEVR's solids, each in its own frame: centred, of half size one, upright. Add a shape by adding a class to SHAPES.

A shape is a convex solid given by its signed distance. Along a ray the distance to a convex solid is a convex
function, so Newton's method started in front of it never oversteps the surface, and the line through two tangents
finds the closest approach.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from objbench.data.generate.tracer.vectors import dot, length

_STEPS = 7  # of Newton's method
_TOUCH = 1e-3  # a ray this close to the surface has met it
_TINY = 1e-12


class Approach(NamedTuple):
    """The closest approach of a ray to a solid: the parameter and the signed distance there, each (M,)."""

    at: Tensor
    distance: Tensor


class Shape(ABC):
    """A convex solid within the unit frame.

    Attributes:
        bound: The radius of the sphere around it.
        extent: Half the side of the upright cube around it.
    """

    bound: float
    extent: float = 1.0

    @abstractmethod
    def sdf(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The signed distance (M,) of points (3,M) from the surface, negative inside, and its gradient (3,M).

        On the surface the gradient is the outward normal.
        """

    def intersect(self, origins: Tensor, directions: Tensor) -> Tensor:
        """The distance (M,) to the first hit of rays that start outside, infinity where there is none.

        Args:
            origins: (3,M).
            directions: (3,M), of length one.
        """
        middle = -dot(origins, directions)
        square = dot(origins, origins) - middle * middle
        at = (middle - (self.bound**2 - square).clamp_min(0).sqrt()).clamp_min(0)
        met = square < self.bound**2
        farthest = middle + 2 * self.bound
        for _ in range(_STEPS):
            points = origins + at * directions
            distance, gradient = self.sdf(points)
            slope = dot(gradient, directions)
            met = met & (slope < 0)
            at = (at - distance / slope.clamp_max(-_TINY)).clamp_max(farthest)
        off, _ = self.sdf(origins + at * directions)
        return torch.where(met & (off < _TOUCH), at, torch.inf)

    def approach(self, origins: Tensor, directions: Tensor) -> Approach:
        """The closest approach to the surface of whole lines, or how deep they go inside."""
        middle = -dot(origins, directions)
        low, high = middle - 2 * self.bound, middle + 2 * self.bound
        at = middle
        f_low, g_low = self._along(origins, directions, low)
        f_high, g_high = self._along(origins, directions, high)
        for step in range(4):
            f, g = self._along(origins, directions, at)
            rising = g > 0
            low, f_low, g_low = (
                torch.where(rising, old, new) for old, new in ((low, at), (f_low, f), (g_low, g))
            )
            high, f_high, g_high = (
                torch.where(rising, new, old) for old, new in ((high, at), (f_high, f), (g_high, g))
            )
            crossing = (f_high - f_low + g_low * low - g_high * high) / (g_low - g_high).clamp_max(-1e-6)
            at = crossing.clamp(low, high) if step < 3 else at
        best = torch.minimum(f_low, f_high)
        return Approach(torch.where(f_low < f_high, low, high), best)

    def _along(self, origins: Tensor, directions: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        distance, gradient = self.sdf(origins + at * directions)
        return distance, dot(gradient, directions)


class Sphere(Shape):
    """The unit sphere."""

    bound = 1.0

    def sdf(self, points: Tensor) -> tuple[Tensor, Tensor]:
        radius = length(points)
        return radius - 1, points / radius.clamp_min(_TINY)

    def intersect(self, origins: Tensor, directions: Tensor) -> Tensor:
        middle = -dot(origins, directions)
        inside = 1 - dot(origins, origins) + middle * middle
        at = middle - inside.clamp_min(0).sqrt()
        return torch.where((inside > 0) & (at > 0), at, torch.inf)

    def approach(self, origins: Tensor, directions: Tensor) -> Approach:
        at = -dot(origins, directions)
        return Approach(at, length(origins + at * directions) - 1)


class Cylinder(Shape):
    """An upright cylinder of radius and half height one, its rims rounded."""

    rounding = 0.05
    bound = 1.394

    def sdf(self, points: Tensor) -> tuple[Tensor, Tensor]:
        inner = 1 - self.rounding
        radius = (points[0] * points[0] + points[1] * points[1]).sqrt()
        out, rise = radius - inner, points[2].abs() - inner
        aside, above = out.clamp_min(0), rise.clamp_min(0)
        norm = (aside * aside + above * above).sqrt()
        distance = norm + torch.maximum(out, rise).clamp_max(0) - self.rounding
        outside = norm > 0
        norm = norm.clamp_min(_TINY)
        nearer_side = (out > rise).to(out.dtype)
        radial = torch.where(outside, aside / norm, nearer_side) / radius.clamp_min(_TINY)
        axial = torch.where(outside, above / norm, 1 - nearer_side)
        gradient = torch.stack([radial * points[0], radial * points[1], axial * torch.sign(points[2])])
        return distance, gradient


class Cube(Shape):
    """A cube of half side one, its edges and corners rounded."""

    rounding = 0.18
    bound = 1.601

    def sdf(self, points: Tensor) -> tuple[Tensor, Tensor]:
        excess = points.abs() - (1 - self.rounding)
        outside = excess.clamp_min(0)
        norm = length(outside)
        most = torch.maximum(torch.maximum(excess[0], excess[1]), excess[2])
        deepest = (excess == most).to(points.dtype)
        slope = torch.where(norm > 0, outside / norm.clamp_min(_TINY), deepest)
        return norm + most.clamp_max(0) - self.rounding, slope * torch.sign(points)


SHAPES: tuple[Shape, ...] = (Sphere(), Cylinder(), Cube())  # upstream's code of a shape is its place, from 1
