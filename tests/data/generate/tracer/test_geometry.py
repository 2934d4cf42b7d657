"""The ray tracer beside two scenes of CLEVR's own generator, and its parts beside plain formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers.paths import FIXTURES

from objbench.data.generate import clevr
from objbench.data.generate.clevr import sampling
from objbench.data.generate.tracer import ground
from objbench.data.generate.tracer.camera import Camera
from objbench.data.generate.tracer.light import Around, Light, visible
from objbench.data.generate.tracer.objects import Objects
from objbench.data.generate.tracer.shapes import SHAPES, Cube, Cylinder, Shape, Sphere
from objbench.data.generate.tracer.vectors import dot, length, unit
from objbench.data.generate.tracer.visibility import label_map

SCENES = FIXTURES / "clevr_geometry" / "scenes.npz"


@pytest.fixture(scope="module")
def real() -> dict[str, np.ndarray]:
    with np.load(SCENES) as file:
        return dict(file)


@pytest.fixture(scope="module")
def world(real: dict[str, np.ndarray]) -> sampling.World:
    """The real scenes in the words of the generator."""
    number = {name: torch.from_numpy(real[name][:, 1:]).double() for name in ("x", "y", "z", "rotation")}
    code = {
        name: torch.from_numpy(real[name][:, 1:]).long() for name in ("shape", "material", "color", "size")
    }
    radius = torch.tensor([1.0, 0.7, 0.35]).double()[code["size"]]
    turn = number["rotation"]
    place = torch.stack([number["x"], number["y"], number["z"]])
    objects = Objects(place, turn.cos(), turn.sin(), radius, turn, **code)
    return sampling.World(
        objects,
        Camera.at(torch.from_numpy(real["camera"]).T.contiguous()),
        torch.from_numpy(real["lamps"]).permute(2, 0, 1).contiguous(),
        label_map(objects, Camera.at(torch.from_numpy(real["camera"]).T.contiguous())),
    )


def test_centres_are_projected_to_the_recorded_pixels(
    real: dict[str, np.ndarray], world: sampling.World
) -> None:
    factors = {name: values.numpy() for name, values in clevr.factors_of(world.objects, world.camera).items()}
    # The recorded places are float32: where a centre falls halfway between two pixels it may round to the other.
    assert abs(factors["pixel_coords"] - real["pixel_coords"])[..., :2].max() <= 1
    assert (factors["pixel_coords"] == real["pixel_coords"])[..., :2].mean() > 0.97
    assert abs(factors["pixel_coords"] - real["pixel_coords"])[..., 2].max() < 1e-5
    for name in ("size", "material", "shape", "color"):
        assert np.array_equal(factors[name], real[name])


def test_masks_are_the_rendered_ones(real: dict[str, np.ndarray], world: sampling.World) -> None:
    for ours, true in zip(world.masks.numpy(), real["mask"], strict=True):
        for entity in set(np.unique(true)):
            a, b = ours == entity, true == entity
            assert (a & b).sum() / (a | b).sum() > 0.97


def test_pictures_are_near_the_rendered_ones(real: dict[str, np.ndarray], world: sampling.World) -> None:
    images, masks = clevr.render(world)
    difference = abs(images.numpy().astype(float) - real["image"]).mean(-1)
    background = masks.numpy() == 0
    assert difference[background].mean() < 2  # grey levels
    assert difference[~background].mean() < 6


def lines(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rays (3,M) from a distance of four towards points near the origin."""
    random = torch.Generator().manual_seed(seed)
    origins = 4 * unit(torch.randn(3, count, generator=random, dtype=torch.float64))
    target = 1.2 * torch.randn(3, count, generator=random, dtype=torch.float64)
    return origins, unit(target - origins)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_a_ray_hits_where_the_distance_along_it_first_vanishes(shape: Shape) -> None:
    origins, directions = lines(400)
    at = shape.intersect(origins, directions)
    steps = torch.linspace(0, 9, 3001, dtype=torch.float64)
    along = torch.stack([shape.field(origins + t * directions)[0] for t in steps])
    inside = along < 0
    clearly_met, clearly_missed = along.amin(0) < -0.01, along.amin(0) > 0.01
    assert 100 < clearly_met.sum() < 300
    assert torch.isinf(at[clearly_missed]).all()
    first = steps[inside.int().argmax(0)]
    assert (at - first)[clearly_met].abs().max() < 0.005


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_the_closest_approach_is_the_least_distance(shape: Shape) -> None:
    origins, directions = lines(400)
    least = torch.stack(
        [shape.field(origins + t * directions)[0] for t in torch.linspace(0, 9, 3001, dtype=torch.float64)]
    ).amin(0)
    near = least.abs() < 0.3  # where half shadows are
    error = shape.approach(origins, directions).distance - least
    assert error[near].abs().max() < 0.03


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_the_gradient_is_that_of_the_distance(shape: Shape) -> None:
    points, _ = lines(200)
    points = points / 3
    points.requires_grad_(True)
    distance, gradient = shape.field(points)
    (expected,) = torch.autograd.grad(distance.sum(), points)
    assert torch.allclose(gradient, expected, atol=1e-9)
    assert torch.allclose(length(gradient), torch.ones_like(distance))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_a_shape_fits_its_bounds_and_the_unit_cube(shape: Shape) -> None:
    origins, directions = lines(2000)
    at = shape.intersect(origins, directions)
    points = (origins + at * directions)[:, at < torch.inf]
    assert points.abs().max() < 1.0011
    assert length(points).max() < shape.bound + 1e-3
    assert length(points).max() > shape.bound - 0.05


def one(shape: int) -> Objects:
    """A scene with one object of half size one at (0,0,1)."""
    codes = [torch.tensor([[code]]) for code in (shape, 1, 1, 1)]
    zero, unity = torch.zeros(1, 1), torch.ones(1, 1)
    return Objects(torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1), unity, zero, unity, zero, *codes)


@pytest.mark.parametrize("shape", [1, 2, 3])
def test_shadows_are_full_behind_half_at_the_edge_and_none_beside(shape: int) -> None:
    light = Light(torch.tensor([[10.0], [0.0], [1.0]]), 0.2, (1.0, 1.0, 1.0))
    aside = torch.linspace(-2, 2, 81)
    points = torch.stack([torch.full_like(aside, -3.0), aside, torch.ones_like(aside)])
    scene, nobody = torch.zeros(81, dtype=torch.long), torch.full((81,), -1)
    arriving = light.arriving(scene, points)
    share = visible(light, arriving, scene, points, Around.of(one(shape), scene, points, nobody), one(shape))
    assert torch.allclose(share, share.flip(0), atol=1e-4)
    assert share[40] == 0
    assert share[0] == share[-1] == 1
    assert (share[40:].diff() >= 0).all()
    # Seen from the lamp the object's edge, or the front edge of the cube's side, falls on this place.
    edge = float(aside[40:][(share[40:] >= 0.5).int().argmax()])
    assert 1.1 < edge < 1.55
    assert 2 <= ((share > 0) & (share < 1)).sum() <= 20


def test_the_ground_is_a_plane_then_a_bend() -> None:
    origins = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [5.0, 5.0, 5.0, 5.0]])
    directions = unit(torch.tensor([[0.0, 4.0, -3.0, 1.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -3.0, 0.0, 1.0]]))
    distance, normal = ground.intersect(origins, directions)
    points = origins + distance * directions
    assert torch.allclose(points[:, 0], torch.tensor([0.0, 0.0, 0.0]), atol=1e-5)
    assert torch.allclose(points[:, 1], torch.tensor([20 / 3, 0.0, 0.0]), atol=1e-4)
    center = torch.tensor([ground.BEND, 0.0, ground.RADIUS])
    assert math.isclose(float((points[:, 2] - center).norm()), ground.RADIUS, rel_tol=1e-5)
    assert torch.allclose(normal[:, :2], torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    assert float(dot(normal, directions)[2]) < 0
    assert torch.isinf(distance[3])


def test_the_rounded_edges_are_the_rendered_ones() -> None:
    """The sizes that make the outlines of 40 rendered scenes match best, the mean overlap above 0.997."""
    assert (Cylinder.rounding, Cube.rounding, Sphere.bound) == (0.05, 0.18, 1.0)
