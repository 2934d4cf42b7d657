"""Transformations of sprites by independent formulas, and many perceptrons in one."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import affine_grid, grid_sample

from objbench.methods.dti_sprites.transforms import (
    Regressors,
    numbers_of,
    recolor,
    sample,
    soft_clamp,
    transform,
)


@pytest.mark.parametrize("name", ["similarity", "affine", "projective"])
def test_zeros_are_the_identity_exactly(name):
    images = torch.rand(2, 4, 6, 8, dtype=torch.float64)
    numbers = torch.zeros(2, numbers_of(name), dtype=torch.float64)
    torch.testing.assert_close(transform(name, images, numbers, (6, 8)), images)


@pytest.mark.parametrize(
    ("name", "theta"),
    [
        ("similarity", lambda n: [[1 + n[0], -n[1], n[2]], [n[1], 1 + n[0], n[3]]]),
        ("affine", lambda n: [[1 + n[0], n[1], n[2]], [n[3], 1 + n[4], n[5]]]),
        ("position", lambda n: [[1 + math.exp(n[0]), 0, n[1]], [0, 1 + math.exp(n[0]), n[2]]]),
    ],
)
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_affine_transformations_sample_as_torch_does(name, theta, padding):
    torch.manual_seed(0)
    images = torch.rand(3, 4, 6, 8, dtype=torch.float64)
    numbers = 0.4 * torch.randn(3, numbers_of(name), dtype=torch.float64)
    matrices = torch.tensor([theta(row) for row in numbers.tolist()], dtype=torch.float64)
    grid = affine_grid(matrices, [3, 4, 9, 7], align_corners=False)
    expected = grid_sample(images, grid, padding_mode=padding, align_corners=False)
    torch.testing.assert_close(transform(name, images, numbers, (9, 7), padding), expected)


def test_projections_divide_by_the_third_coordinate():
    torch.manual_seed(0)
    images = torch.rand(1, 4, 7, 5, dtype=torch.float64)
    numbers = 0.2 * torch.randn(1, 9, dtype=torch.float64)
    h = torch.eye(3, dtype=torch.float64) + numbers.view(3, 3)
    grid = torch.empty(1, 7, 5, 2, dtype=torch.float64)
    for row in range(7):
        for column in range(5):
            place = torch.tensor([(2 * column + 1) / 5 - 1, (2 * row + 1) / 7 - 1, 1.0], dtype=torch.float64)
            x, y, z = h @ place
            grid[0, row, column] = torch.stack([x / z, y / z])
    expected = grid_sample(images, grid, align_corners=False)
    torch.testing.assert_close(transform("projective", images, numbers, (7, 5)), expected)


def test_a_projection_to_infinity_stays_finite():
    numbers = torch.zeros(1, 9)
    numbers[0, 8] = -1  # the third coordinate is zero everywhere
    matrices = torch.eye(3)[None] + numbers.view(1, 3, 3)
    matrices.requires_grad_()
    found = sample(torch.rand(1, 1, 4, 4), matrices, (4, 4))
    (gradient,) = torch.autograd.grad(found.sum(), matrices)
    assert found.isfinite().all()
    assert gradient.isfinite().all()


def test_at_the_start_a_sprite_fills_half_of_the_image_in_its_middle():
    placed = transform("position", torch.ones(1, 1, 4, 4), torch.zeros(1, 3), (16, 16))
    assert (placed[0, 0, 5:11, 5:11] == 1).all()
    assert (placed[0, 0, :3] == 0).all()
    assert (placed[0, 0, :, 13:] == 0).all()
    largest = transform("position", torch.ones(1, 1, 4, 4), torch.tensor([[-3.0, 0, 0]]), (16, 16))
    assert largest.sum() < 16 * 16


def test_colours_are_scaled_and_shifted_and_masks_are_not():
    images = torch.rand(2, 5, 3, 3)
    numbers = torch.randn(2, 6)
    found = recolor(images, numbers)
    for image in range(2):
        for channel in range(3):
            w, b = numbers[image, channel], numbers[image, 3 + channel]
            expected = soft_clamp((1 + w) * images[image, channel] + b)
            torch.testing.assert_close(found[image, channel], expected)
    assert torch.equal(found[:, 3:], images[:, 3:])


def test_a_soft_clamp_keeps_a_small_slope_outside():
    values = torch.tensor([-2.0, 0.5, 4.0], requires_grad=True)
    clamped = soft_clamp(values)
    torch.testing.assert_close(clamped, torch.tensor([-0.02, 0.5, 1.03]))
    (slope,) = torch.autograd.grad(clamped.sum(), values)
    torch.testing.assert_close(slope, torch.tensor([0.01, 1.0, 0.01]))


def test_grouped_perceptrons_are_those_of_each_group():
    torch.manual_seed(0)
    network = Regressors(5, 4, 3, (2, 6))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    features = torch.randn(7, 5)
    found = network(features)
    assert found.shape == (7, 2, 6, 3)
    for layer in range(2):
        for sprite in range(6):
            seen = features
            for step, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
                seen = seen @ weight[layer, sprite] + bias[layer, sprite]
                seen = seen if step == 2 else seen.relu()
            torch.testing.assert_close(found[:, layer, sprite], seen, rtol=1e-4, atol=1e-4)


def test_perceptrons_begin_at_zero_with_hidden_layers_as_linear_ones():
    torch.manual_seed(0)
    network = Regressors(400, 100, 3, (2,))
    assert (network(torch.randn(4, 400)) == 0).all()
    for weight, features in zip(network.weights[:2], (400, 100), strict=True):
        bound = 1 / math.sqrt(features)
        assert weight.abs().max().item() == pytest.approx(bound, rel=1e-2)
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert not torch.equal(network.weights[0][0], network.weights[0][1])


def test_coordinates_stay_float32_in_bfloat16():
    network = Regressors(5, 4, 3, (2,))
    torch.nn.init.normal_(network.weights[-1])
    with torch.autocast("cpu", torch.bfloat16):
        numbers = network(torch.randn(2, 5))
        placed = transform("position", torch.rand(2, 4, 5, 5).bfloat16(), numbers[:, 0], (6, 6))
    assert numbers.dtype == placed.dtype == torch.float32
