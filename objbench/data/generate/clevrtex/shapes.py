"""The shapes of ClevrTex, each in its own frame; the two that upstream has as meshes are likenesses of our own.

Where upstream's mesh is not centred, these lie as it does: the centre of an object is the origin of its frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from objbench.data.generate.tracer.objects import Objects
from objbench.data.generate.tracer.sdf import SdfShape, ellipsoid, ring, tapered, union
from objbench.data.generate.tracer.shapes import Cube, Cylinder, Shape, Sphere


class Block(Cube):
    """A cube of half side one, its edges barely rounded."""

    rounding = 0.05
    bound = 1.696


class Monkey(SdfShape):
    """A monkey's head that looks along -y: skull, brows, eyes, muzzle, nose and two hollow ears."""

    bound = 1.13
    extent = 1.08

    def distance(self, points: Tensor) -> Tensor:
        mirrored = torch.stack([points[0].abs(), points[1], points[2]])
        head = ellipsoid(points, (0, 0.06, -0.10), (0.60, 0.66, 0.57))
        head = union(head, ellipsoid(points, (0, -0.42, -0.56), (0.37, 0.40, 0.40)), 0.14)
        head = union(head, ellipsoid(mirrored, (0.25, -0.46, 0.05), (0.25, 0.20, 0.12)), 0.08)
        head = union(head, ellipsoid(points, (0, -0.80, -0.44), (0.13, 0.09, 0.08)), 0.05)
        ear = ellipsoid(mirrored, (0.74, 0.10, -0.06), (0.32, 0.12, 0.33))
        hollow = ellipsoid(mirrored, (0.78, -0.04, -0.06), (0.20, 0.11, 0.21))
        head = union(head, torch.maximum(ear, -hollow), 0.06)
        eye = ellipsoid(mirrored, (0.24, -0.56, -0.12), (0.13, 0.10, 0.11))
        return torch.minimum(head, eye)


class Cone(Shape):
    """An upright cone, its base of radius one, its point at height one."""

    bound = math.sqrt(2)

    def sdf(self, points: Tensor) -> tuple[Tensor, Tensor]:
        radius = (points[0] * points[0] + points[1] * points[1]).sqrt()
        slope = 1 / math.sqrt(5)
        side, base = (2 * radius + points[2] - 1) * slope, -1 - points[2]
        on_side = side > base
        out = torch.where(on_side, 2 * slope / radius.clamp_min(1e-12), 0)
        up = torch.where(on_side, slope, torch.full_like(side, -1))
        return torch.maximum(side, base), torch.stack([out * points[0], out * points[1], up])


class Icosahedron(Shape):
    """A regular icosahedron that stands on a face."""

    inner = 0.8  # radius of the sphere inside
    center = -0.192
    bound = 1.16
    extent = 1.05

    def sdf(self, points: Tensor) -> tuple[Tensor, Tensor]:
        x, y, z = points[0], points[1], points[2] - self.center
        most = torch.full_like(x, -torch.inf)
        slope = torch.zeros_like(points)
        for normal in _FACES:
            height = x * normal[0] + y * normal[1] + z * normal[2]
            further = height.abs() > most
            most = torch.where(further, height.abs(), most)
            side = torch.sign(height)
            slope = torch.stack([torch.where(further, side * normal[i], slope[i]) for i in range(3)])
        return most - self.inner, slope


class Torus(SdfShape):
    """A thick ring that lies on the ground."""

    bound = 1.36
    extent = 1.18

    def distance(self, points: Tensor) -> Tensor:
        return ring(points[0], points[1], points[2] + 0.516, 0.70, 0.477)


class Teapot(SdfShape):
    """A pot with a lid and a knob, its spout along x, its handle behind."""

    bound = 1.26
    extent = 1.16

    def distance(self, points: Tensor) -> Tensor:
        pot = ellipsoid(points, (0, 0, -0.45), (0.74, 0.74, 0.57))
        pot = torch.maximum(pot, -0.98 - points[2])
        pot = union(pot, ellipsoid(points, (0, 0, 0.07), (0.45, 0.45, 0.14)), 0.06)
        pot = union(pot, ellipsoid(points, (0, 0, 0.30), (0.12, 0.12, 0.12)), 0.06)
        pot = union(pot, tapered(points, (0.50, 0, -0.62), (1.02, 0, 0.02), 0.20, 0.09), 0.10)
        handle = ring(points[0] + 0.70, points[2] + 0.38, points[1], 0.36, 0.08)
        return union(pot, handle, 0.05)


class Solids(Objects):
    """Objects of ClevrTex; codes of shapes 1 cube 2 sphere 3 cylinder 4 monkey, of sizes 1 large 2 medium 3 small."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """All shapes; the code of each is its place, from 1."""
        return _SHAPES


class UnseenSolids(Objects):
    """Objects of ClevrTex OOD; codes of shapes 1 cone 2 icosahedron 3 torus 4 teapot."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """All shapes; the code of each is its place, from 1."""
        return _UNSEEN


def _faces() -> list[tuple[float, float, float]]:
    """The normals of one of each two opposite faces: corners of a dodecahedron, turned so that one points up."""
    golden = (1 + math.sqrt(5)) / 2
    corners = [(1.0, y, z) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]
    for sign in (-1.0, 1.0):
        a, b = 1 / golden, sign * golden
        corners += [(0.0, a, b), (a, b, 0.0), (b, 0.0, a)]
    # Plain numbers, so that every machine has the same bits: along (1,-1,0), (1,1,-2) and (1,1,1).
    return [((x - y) / math.sqrt(6), (x + y - 2 * z) / math.sqrt(18), (x + y + z) / 3) for x, y, z in corners]


_FACES = _faces()
_SHAPES: tuple[Shape, ...] = (Block(), Sphere(), Cylinder(), Monkey())
_UNSEEN: tuple[Shape, ...] = (Cone(), Icosahedron(), Torus(), Teapot())
