"""The ground of CLEVR's world: a plane that bends up into a quarter of a cylinder far behind the objects."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Read off the rendered scenes: where the far ground turns brighter under the sun.
BEND = -8.0  # x where the plane ends
RADIUS = 10.0  # of the bend; behind it the ground is a wall


# What rays that pass over the bend show: the wall behind it, seen in metal only. Direction and light are read off the
# mirrors of the rendered scenes.
_WALL = (-0.7071, 0.7071)
_WALL_LIGHT = 0.09


class GroundHits(NamedTuple):
    """Where rays meet the ground: distance (M,), infinity where they do not, and the normals (3,M)."""

    distance: Tensor
    normal: Tensor


def intersect(origins: Tensor, directions: Tensor) -> GroundHits:
    """Where rays (3,M) that start above the ground meet it."""
    flat = -origins[2] / directions[2].clamp_max(-1e-9)
    on_plane = (directions[2] < 0) & (origins[0] + flat * directions[0] >= BEND)
    x, z = origins[0] - BEND, origins[2] - RADIUS
    along = (directions[0] ** 2 + directions[2] ** 2).clamp_min(1e-12)
    middle = -(x * directions[0] + z * directions[2]) / along
    root = middle * middle - (x * x + z * z - RADIUS**2) / along
    bent = middle + root.clamp_min(0).sqrt()
    bent_x, bent_z = x + bent * directions[0], z + bent * directions[2]
    on_bend = ~on_plane & (root > 0) & (bent_x < 0) & (bent_z < 0)
    distance = torch.where(on_plane, flat, torch.where(on_bend, bent, torch.inf))
    zero = torch.zeros_like(flat)
    normal = torch.stack(
        [torch.where(on_bend, -bent_x / RADIUS, zero), zero, torch.where(on_bend, -bent_z / RADIUS, 1)]
    )
    return GroundHits(distance, normal)


def wall(directions: Tensor) -> Tensor:
    """The light (3,M) from `directions` (3,M) that meet no ground: a grey wall behind the scene, black elsewhere."""
    flat = (directions[0] ** 2 + directions[1] ** 2).sqrt().clamp_min(1e-6)
    behind = (directions[0] * _WALL[0] + directions[1] * _WALL[1]) / flat
    across = ((behind - 0.35) / 0.25).clamp(0, 1)
    up = ((0.85 - directions[2]) / 0.2).clamp(0, 1)
    return (_WALL_LIGHT * across * up).expand(3, -1)
