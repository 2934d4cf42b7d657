"""The shapes of ClevrTex beside plain search, and their extents beside those of upstream's meshes."""

from __future__ import annotations

import math

import pytest
import torch

from objbench.data.generate.clevrtex.shapes import Cone, Icosahedron, Solids, Teapot, UnseenSolids
from objbench.data.generate.tracer.sdf import SdfShape
from objbench.data.generate.tracer.shapes import Shape
from objbench.data.generate.tracer.vectors import length, unit

EMPTY = torch.zeros(0)
SEEN = Solids(*(EMPTY for _ in Solids._fields)).shapes
UNSEEN = UnseenSolids(*(EMPTY for _ in Solids._fields)).shapes
SHAPES = [*SEEN, *UNSEEN]


def named(shape: Shape) -> str:
    return type(shape).__name__


def lines(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rays (3,M) from a distance of four towards points near the origin."""
    random = torch.Generator().manual_seed(0)
    origins = 4 * unit(torch.randn(3, count, generator=random, dtype=torch.float64))
    target = 0.8 * torch.randn(3, count, generator=random, dtype=torch.float64)
    return origins, unit(target - origins)


def level(shape: Shape, points: torch.Tensor) -> torch.Tensor:
    """The signed distance alone."""
    return shape.distance(points) if isinstance(shape, SdfShape) else shape.sdf(points)[0]


def along(shape: Shape, origins: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Steps (T,) along rays (3,M), and the signed distances (T,M) there."""
    steps = torch.linspace(2.5, 5.5, 601, dtype=torch.float64)
    points = origins[:, None] + steps[:, None] * directions[:, None]
    return steps, level(shape, points.flatten(1)).view(len(steps), -1)


def test_the_codes_are_those_of_the_names() -> None:
    assert [named(shape) for shape in SEEN] == ["Block", "Sphere", "Cylinder", "Monkey"]
    assert [named(shape) for shape in UNSEEN] == ["Cone", "Icosahedron", "Torus", "Teapot"]


@pytest.mark.parametrize("shape", SHAPES, ids=named)
def test_a_ray_hits_where_the_distance_along_it_first_vanishes(shape: Shape) -> None:
    origins, directions = lines(150)
    at = shape.intersect(origins, directions)
    steps, distances = along(shape, origins, directions)
    met, missed = distances.amin(0) < -0.01, distances.amin(0) > 0.01
    assert met.sum() > 30
    assert missed.sum() > 30
    assert torch.isinf(at[missed]).all()
    first = steps[(distances < 0).int().argmax(0)]
    assert (at - first)[met].abs().max() < 0.02


@pytest.mark.parametrize("shape", SHAPES, ids=named)
def test_the_closest_approach_is_about_the_least_distance(shape: Shape) -> None:
    origins, directions = lines(150)
    least = along(shape, origins, directions)[1].amin(0)
    near = least.abs() < 0.15  # where half shadows are
    error = (shape.approach(origins, directions).distance - least)[near]
    assert error.abs().max() < 0.12
    assert error.abs().mean() < 0.02


@pytest.mark.parametrize("shape", SHAPES, ids=named)
def test_normals_point_out_of_the_surface(shape: Shape) -> None:
    origins, directions = lines(2000)
    at = shape.intersect(origins, directions)
    points = (origins + at * directions)[:, at < torch.inf]
    distance, normal = shape.sdf(points)
    assert distance.abs().max() < 2e-3
    assert torch.allclose(length(normal), torch.ones_like(distance), atol=1e-6)
    outside, inside = (shape.sdf(points + step * normal)[0] for step in (0.01, -0.01))
    assert (outside > 0).float().mean() > 0.999
    assert (inside < 0).float().mean() > 0.99


@pytest.mark.parametrize(
    ("shape", "low", "high"),
    [
        ("Block", -1, 1), ("Sphere", -1, 1), ("Cylinder", -1, 1), ("Monkey", -0.967, 0.476), ("Cone", -1, 1),
        ("Icosahedron", -0.992, 0.609), ("Torus", -0.993, -0.039), ("Teapot", -1.0, 0.43),
    ],
)  # fmt: skip
def test_a_shape_fits_its_bounds_and_is_as_high_as_upstreams(shape: str, low: float, high: float) -> None:
    solid = next(one for one in SHAPES if named(one) == shape)
    origins, directions = lines(6000)
    at = solid.intersect(origins, directions)
    points = (origins + at * directions)[:, at < torch.inf]
    assert points[:2].abs().max() < solid.extent + 1e-3
    assert solid.extent - 0.12 < points.abs().max()
    assert solid.bound - 0.06 < length(points).max() < solid.bound + 1e-3
    assert abs(float(points[2].min()) - low) < 0.03
    assert abs(float(points[2].max()) - high) < 0.04


def test_the_icosahedron_has_twenty_even_faces_and_stands_on_one() -> None:
    origins, directions = lines(4000)
    solid = Icosahedron()
    at = solid.intersect(origins, directions)
    points = (origins + at * directions)[:, at < torch.inf]
    normals = solid.sdf(points)[1]
    faces = {tuple(round(v, 4) for v in normal) for normal in normals.T.tolist()}
    assert len(faces) == 20
    assert (0.0, 0.0, -1.0) in {tuple(v + 0.0 for v in face) for face in faces}


def test_implicit_shapes_have_holes() -> None:
    """A ray goes through the middle of the ring, and another through the handle."""
    down = torch.tensor([[0.0], [0.0], [-1.0]], dtype=torch.float64)
    assert torch.isinf(UNSEEN[2].intersect(-4 * down, down)).all()
    aside = torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64)
    through = torch.tensor([[-0.86], [-4.0], [-0.38]], dtype=torch.float64)
    assert torch.isinf(Teapot().intersect(through, aside)).all()


def test_convex_shapes_are_no_implicit_ones() -> None:
    assert {named(shape) for shape in SHAPES if isinstance(shape, SdfShape)} == {"Monkey", "Torus", "Teapot"}


def test_the_cone_is_a_cone() -> None:
    points = torch.tensor([[0.5, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, -1.5, 1.0]], dtype=torch.float64)
    assert torch.allclose(
        Cone().sdf(points)[0], torch.tensor([0.0, 0.5, 4 / math.sqrt(5)], dtype=torch.float64)
    )
