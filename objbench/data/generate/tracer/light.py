"""CLEVR's lights, three square lamps and the sun, and how much of each a point sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from objbench.data.generate.tracer.objects import Objects
from objbench.data.generate.tracer.vectors import dot, length

# Power of key, fill, back lamp and sun, so that a matte surface of albedo a sends on a * power * strength / pi: fitted
# to the ground of rendered scenes. In proportion the lamps' strengths (100, 30, 50) and colours are the original's.
POWERS = ((24.04, 22.34, 19.22), (5.99, 6.47, 8.03), (12.95, 13.12, 13.13), (0.433, 0.433, 0.449))
HALVES = (0.26, 0.30, 0.55)  # of the lamps' sides
_SUN = (11.66, -6.63, 25.82)
_SUN_HALF = 0.128  # radians
_FAR = 1000.0


class Light(NamedTuple):
    """One light in N scenes: a square that faces the origin, or (far) the sun."""

    place: Tensor  # (3,N)
    half: float  # half of its side
    power: tuple[float, float, float]
    far: bool = False

    def arriving(self, scene: Tensor, points: Tensor) -> Arriving:
        """The light that would reach `points` (3,M) of the scenes `scene` (M,) were nothing in between."""
        place = self.place[:, scene]
        offset = place - points
        distance = length(offset)
        direction = offset / distance
        if self.far:
            return Arriving(direction, distance, torch.ones_like(distance))
        facing = dot(place, direction) / length(place)
        return Arriving(direction, distance, facing.clamp_min(0) / (distance * distance))


class Arriving(NamedTuple):
    """Direction towards a light (3,M), the distance to it (M,) and what a square facing it would get (M,)."""

    direction: Tensor
    distance: Tensor
    strength: Tensor


def lights_of(lamps: Tensor, powers: Sequence[tuple[float, float, float]] = POWERS) -> list[Light]:
    """The lights of N scenes with the three lamps at `lamps` (3,N,3); `powers` of key, fill, back lamp and sun."""
    places = lamps.float().unbind(2)
    lights = [Light(*lamp) for lamp in zip(places, HALVES, powers[:3], strict=True)]
    sun = torch.tensor(_SUN, dtype=torch.float32, device=lamps.device)
    far = (sun * (_FAR / math.hypot(*_SUN)))[:, None].expand(-1, lamps.shape[1])
    return [*lights, Light(far, _FAR * _SUN_HALF, powers[3], far=True)]


class Neighbours(NamedTuple):
    """The objects as M points see them, (M,O) each: where their centres are, and the spheres around them."""

    center: tuple[Tensor, Tensor, Tensor]  # relative to the point
    square: Tensor  # of the distance to it
    bound: Tensor  # negative where there is none to be looked at

    @staticmethod
    def of(objects: Objects, scene: Tensor, points: Tensor, own: Tensor) -> Neighbours:
        """The objects but `own` (M,) around `points` (3,M) of the scenes `scene`."""
        x, y, z = (objects.place[i][scene] - points[i][:, None] for i in range(3))
        bound = objects.bounds()[scene]
        place = torch.arange(bound.shape[1], device=scene.device)
        itself = own[:, None] == scene[:, None] * bound.shape[1] + place
        return Neighbours((x, y, z), x * x + y * y + z * z, torch.where(itself, -1, bound))

    def met(self, directions: Tensor, spread: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Point and place of each object whose sphere a ray meets, the ray widening by `spread` (M,) to each side."""
        x, y, z = self.center
        along = x * directions[0, :, None] + y * directions[1, :, None] + z * directions[2, :, None]
        reach = self.bound if spread is None else self.bound + along.clamp_min(0) * spread[:, None]
        near = (self.square - along * along < reach * reach) & (along > -self.bound) & (self.bound > 0)
        point, place = near.nonzero().unbind(1)
        return point, place


def visible(
    light: Light, arriving: Arriving, scene: Tensor, points: Tensor, around: Neighbours, objects: Objects
) -> Tensor:
    """The share (M,) of the light that `points` (3,M) of the scenes `scene` see past the objects around them.

    Of a light's square the part beyond the edge of an object is taken as if the edge were straight: the closest
    approach of the ray to the square's middle says how much that is.
    """
    corner = light.half * math.sqrt(2) / arriving.distance
    point, place = around.met(arriving.direction, corner)
    number = scene[point] * objects.shape.shape[1] + place
    at, distance = objects.approach(number, points[:, point], arriving.direction[:, point])
    width = at.clamp_min(1e-4) * light.half / arriving.distance[point]
    past = (distance / (1.15 * width)).clamp(-1, 1)
    share = torch.where(at > 0, 0.5 + past * (0.75 - 0.25 * past * past), 1)
    seen = torch.ones_like(arriving.distance)
    return seen.scatter_reduce_(0, point, share, "prod")
