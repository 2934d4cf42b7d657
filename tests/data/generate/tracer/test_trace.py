"""The ray tracer beside two scenes of CLEVR's own generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.paths import FIXTURES

from objbench.data.generate.clevr import sampling
from objbench.data.generate.clevr.generator import factors_of, render
from objbench.data.generate.tracer.camera import Camera
from objbench.data.generate.tracer.objects import Objects
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
    factors = {name: values.numpy() for name, values in factors_of(world.objects, world.camera).items()}
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
    images, masks = render(world)
    difference = abs(images.numpy().astype(float) - real["image"]).mean(-1)
    background = masks.numpy() == 0
    assert difference[background].mean() < 2  # grey levels
    assert difference[~background].mean() < 6
