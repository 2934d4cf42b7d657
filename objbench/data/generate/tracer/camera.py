"""CLEVR's camera: 35 mm on a 32 mm sensor, looking at the origin from wherever it stands."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from objbench.data.generate.tracer.vectors import cross, divided, dot, length

WIDTH, HEIGHT = 320, 240
FOCAL = WIDTH * 35 / 32  # in pixels


class Camera(NamedTuple):
    """The cameras of N scenes: place and orthonormal axes, each (3,N); z of the world is up in the picture."""

    place: Tensor
    right: Tensor
    up: Tensor
    forward: Tensor

    @staticmethod
    def at(place: Tensor) -> Camera:
        """The cameras that look at the origin from `place` (3,N)."""
        forward = -place / length(place)
        zero = torch.zeros_like(place[0])
        right = torch.stack([forward[1], -forward[0], zero])
        right = right / length(right)
        return Camera(place, right, cross(right, forward), forward)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Column, row (pixel units, the frame's corner is 0) and depth of points (3,N,...)."""
        extra = (1,) * (points.dim() - 2)
        place, right, up, forward = (axis.view(*axis.shape, *extra) for axis in self)
        offset = points - place
        depth = dot(offset, forward)
        column = WIDTH / 2 + FOCAL * dot(offset, right) / depth
        row = HEIGHT / 2 - FOCAL * dot(offset, up) / depth
        return column, row, depth

    def directions(self, scene: Tensor, column: Tensor, row: Tensor) -> Tensor:
        """Unit directions (3,M) of the rays of scenes `scene` (M,) through `column` and `row` (M,)."""
        x = divided(column - WIDTH / 2, FOCAL)
        y = divided(HEIGHT / 2 - row, FOCAL)
        norm = (x * x + y * y + 1).sqrt()
        return (self.forward[:, scene] + x * self.right[:, scene] + y * self.up[:, scene]) / norm

    def only(self, scenes: Tensor) -> Camera:
        """The cameras of `scenes`, int64."""
        return Camera(*(axis[:, scenes] for axis in self))

    def to(self, dtype: torch.dtype) -> Camera:
        """The same cameras in another precision."""
        return Camera(*(axis.to(dtype) for axis in self))
