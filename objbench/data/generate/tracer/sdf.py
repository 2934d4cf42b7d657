"""Closed shapes that are not convex, given by a function that vanishes on the surface: walked along, not solved."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from objbench.data.generate.tracer.shapes import Approach, Shape
from objbench.data.generate.tracer.vectors import dot, length

_ROUNDS, _STEPS = 24, 4  # of the walk: rays that have ended are laid aside between rounds
_CAUTION = 0.9  # of the distance is walked: that of an ellipsoid is an estimate
_TOUCH, _PASSED = 1e-3, 3e-3
_SAMPLES = 12  # of a line that may only pass by
_SHIFT = 1e-4  # for differences


class SdfShape(Shape):
    """A shape by its distance alone."""

    @abstractmethod
    def distance(self, points: Tensor) -> Tensor:
        """About the signed distance (M,) of points (3,M), and in front of the surface not much more than it."""

    def sdf(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The distance, and its gradient by differences at the corners of a tetrahedron."""
        total = torch.zeros_like(points)
        for x, y, z in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
            corner = torch.tensor([[x], [y], [z]], dtype=points.dtype, device=points.device)
            total += corner * self.distance(points + _step(points.dtype) * corner)
        return self.distance(points), total / length(total).clamp_min(1e-12)

    def intersect(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Sphere tracing (Hart, 1996): a ray goes on by the distance at which nothing can be nearer."""
        middle = -dot(origins, directions)
        square = dot(origins, origins) - middle * middle
        half = (self.bound**2 - square).clamp_min(0).sqrt()
        found = torch.full_like(middle, torch.inf)
        live = ((square < self.bound**2) & (middle + half > 0)).nonzero().flatten()
        at, end = (middle - half).clamp_min(0)[live], (middle + half)[live]
        for _ in range(_ROUNDS):
            if not len(live):
                break
            o, d = origins[:, live], directions[:, live]
            for _ in range(_STEPS):
                left = self.distance(o + at * d)
                at = at + _CAUTION * left
            near = self.distance(o + at * d)
            touched = near < _TOUCH
            found[live[touched]] = at[touched]
            going = (~touched & (at < end)).nonzero().flatten()
            # What has neither touched nor left when the rounds are over grazes the surface, or ends near it.
            live, at, end, grazing = live[going], at[going], end[going], near[going]
        if len(live):
            ends = grazing < _PASSED
            found[live[ends]] = at[ends]
        return found

    def approach(self, origins: Tensor, directions: Tensor) -> Approach:
        """The least of some samples of the line within the sphere around the shape."""
        middle = -dot(origins, directions)
        square = dot(origins, origins) - middle * middle
        half = (1.2 * self.bound**2 - square).clamp_min(0.01).sqrt()
        best, where = torch.full_like(middle, torch.inf), middle
        for step in range(_SAMPLES):
            at = middle + half * ((2 * step + 1) / _SAMPLES - 1)
            distance = self.distance(origins + at * directions)
            where = torch.where(distance < best, at, where)
            best = torch.minimum(best, distance)
        return Approach(where, best)


def ellipsoid(
    points: Tensor, center: tuple[float, float, float], radii: tuple[float, float, float]
) -> Tensor:
    """About the distance (M,) from an ellipsoid, exact on its surface (Quilez' estimate).

    Here and below plain numbers are multiplied, not divided by: see `divided` in the vectors of CLEVR.
    """
    offset = [points[i] - center[i] for i in range(3)]
    x, y, z = (offset[i] * (1 / radii[i]) for i in range(3))
    level = (x * x + y * y + z * z).sqrt()
    x, y, z = x * (1 / radii[0]), y * (1 / radii[1]), z * (1 / radii[2])
    return level * (level - 1) / (x * x + y * y + z * z).sqrt().clamp_min(1e-6)


def tapered(
    points: Tensor,
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    thick: float,
    thin: float,
) -> Tensor:
    """The distance (M,) from a rounded rod between two places, `thick` at its start and `thin` at its end."""
    axis = [end[i] - start[i] for i in range(3)]
    offset = [points[i] - start[i] for i in range(3)]
    scale = 1 / sum(a * a for a in axis)
    share = ((offset[0] * axis[0] + offset[1] * axis[1] + offset[2] * axis[2]) * scale).clamp(0, 1)
    x, y, z = (offset[i] - share * axis[i] for i in range(3))
    return (x * x + y * y + z * z).sqrt() - (thick + share * (thin - thick))


def ring(across: Tensor, along: Tensor, aside: Tensor, large: float, small: float) -> Tensor:
    """The distance (M,) from a torus around the axis `aside`, its radii `large` and `small`."""
    out = (across * across + along * along).sqrt() - large
    return (out * out + aside * aside).sqrt() - small


def union(a: Tensor, b: Tensor, width: float) -> Tensor:
    """The least of two distances, blended where they differ by less than `width` (Quilez' polynomial)."""
    share = (0.5 + (0.5 / width) * (b - a)).clamp(0, 1)
    return b + share * (a - b) - width * share * (1 - share)


def _step(dtype: torch.dtype) -> float:
    return _SHIFT if dtype == torch.float64 else 10 * _SHIFT
