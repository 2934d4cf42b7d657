"""The objects of a batch of scenes, and the questions asked of them all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import torch
from torch import Tensor

from objbench.data.generate.tracer.shapes import SHAPES, Shape
from objbench.data.generate.tracer.vectors import turn


class Objects(NamedTuple):
    """The objects of N scenes, O places each; an object is also known by its number scene * O + place.

    Codes are upstream's, int64, 0 in an empty place: shape 1 sphere 2 cylinder 3 cube; material 1 rubber 2 metal;
    color 1 red 2 cyan 3 green 4 blue 5 brown 6 gray 7 purple 8 yellow; size 1 large 2 small.
    A set of other shapes is a subclass with `shapes` of its own.
    """

    place: Tensor  # (3,N,O), of the centre
    cosine: Tensor  # (N,O), of the turn about the vertical
    sine: Tensor  # (N,O)
    radius: Tensor  # (N,O), half of the height
    rotation: Tensor  # (N,O), the angle as upstream's factor gives it: a number below 360, meant as radians
    shape: Tensor
    material: Tensor
    color: Tensor
    size: Tensor

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """All shapes; the code of each is its place, from 1."""
        return SHAPES

    def to(self, dtype: torch.dtype) -> Self:
        """The same objects with their geometry in another precision."""
        return self._replace(
            place=self.place.to(dtype),
            cosine=self.cosine.to(dtype),
            sine=self.sine.to(dtype),
            radius=self.radius.to(dtype),
        )

    def first(self, places: int) -> Self:
        """The objects in the first `places` places alone."""
        return type(self)(*(values[..., :places].contiguous() for values in self))

    @classmethod
    def none(cls, scenes: int, places: int, device: torch.device) -> Self:
        """Empty places."""
        real = [torch.zeros(3, scenes, places, dtype=torch.float64, device=device)]
        real += [torch.zeros(scenes, places, dtype=torch.float64, device=device) for _ in range(4)]
        codes = [torch.zeros(scenes, places, dtype=torch.int64, device=device) for _ in range(4)]
        return cls(*real, *codes)

    def put(self, scenes: Tensor, other: Objects) -> None:
        """Replace the objects of `scenes` by those of `other`."""
        for values, new in zip(self, other, strict=True):
            values[..., scenes, :] = new

    def only(self, scenes: Tensor) -> Self:
        """The objects of `scenes`, int64."""
        return type(self)(*(values[..., scenes, :] for values in self))

    def bounds(self) -> Tensor:
        """The radius (N,O) of the sphere around each object, negative in an empty place."""
        table = torch.tensor(
            [-1.0, *(shape.bound for shape in self.shapes)], dtype=torch.float32, device=self.shape.device
        )
        return table.to(self.radius.dtype)[self.shape] * torch.where(self.shape > 0, self.radius, 1)

    def extents(self) -> Tensor:
        """Half the side (N,O) of the upright cube around each object, turned with it; 0 in an empty place."""
        table = torch.tensor(
            [0.0, *(shape.extent for shape in self.shapes)], dtype=torch.float32, device=self.shape.device
        )
        return table.to(self.radius.dtype)[self.shape] * self.radius

    def local(self, number: Tensor, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """The rays (3,M) in the frames of the objects `number` (M,), where lengths are in units of the radius."""
        cosine, sine = self.cosine.flatten()[number], -self.sine.flatten()[number]
        offset = origins - self.place.flatten(1)[:, number]
        return (
            turn(offset, cosine, sine) / self.radius.flatten()[number],
            turn(directions, cosine, sine),
        )

    def normals(self, number: Tensor, points: Tensor) -> Tensor:
        """The outward normals (3,M) at `points` (3,M) on the surfaces of the objects `number`."""
        local, _ = self.local(number, points, points)

        def gradients(shape: Shape, chosen: Tensor) -> tuple[Tensor, ...]:
            return tuple(shape.sdf(local[:, chosen])[1])

        normal = torch.stack(self.by_shape(number, 3, gradients))
        return turn(normal, self.cosine.flatten()[number], self.sine.flatten()[number])

    def intersect(self, number: Tensor, origins: Tensor, directions: Tensor) -> Tensor:
        """How far along the rays (3,M) the objects `number` (M,) are hit; infinity where they are not."""
        origins, directions = self.local(number, origins, directions)

        def hits(shape: Shape, chosen: Tensor) -> tuple[Tensor, ...]:
            return (shape.intersect(origins[:, chosen], directions[:, chosen]),)

        (at,) = self.by_shape(number, 1, hits)
        return at * self.radius.flatten()[number]

    def approach(self, number: Tensor, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Where along the lines (3,M) the objects `number` are closest, and the signed distance there."""
        origins, directions = self.local(number, origins, directions)

        def closest(shape: Shape, chosen: Tensor) -> tuple[Tensor, ...]:
            return shape.approach(origins[:, chosen], directions[:, chosen])

        at, distance = self.by_shape(number, 2, closest)
        radius = self.radius.flatten()[number]
        return at * radius, distance * radius

    def by_shape(
        self, number: Tensor, results: int, function: Callable[[Shape, Tensor], tuple[Tensor, ...]]
    ) -> list[Tensor]:
        """`function(shape, chosen)` for every shape, its results put back in the order of `number` (M,)."""
        code = self.shape.flatten()[number]
        merged = [
            torch.empty(len(number), dtype=self.radius.dtype, device=number.device) for _ in range(results)
        ]
        for expected, shape in enumerate(self.shapes, start=1):
            chosen = (code == expected).nonzero().flatten()
            if not len(chosen):
                continue
            for whole, part in zip(merged, function(shape, chosen), strict=True):
                whole[chosen] = part
        return merged
