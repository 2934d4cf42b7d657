"""Coordinates, ramps and their learned embedding."""

from __future__ import annotations

import math

import pytest
import torch

from objbench.errors import RequestError
from objbench.methods.parts.position import (
    SoftPositionEmbedding,
    coordinate_grid,
    cosine_grid,
    soft_position_grid,
)


def test_coordinates_are_y_then_x_from_minus_one_to_one():
    y, x = coordinate_grid(3, 5)
    assert y[:, 0].tolist() == [-1, 0, 1]
    assert x[0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert (y == y[:, :1]).all()
    assert (x == x[:1]).all()


def test_ramps_are_y_and_x_and_what_is_left_of_them():
    grid = soft_position_grid(3, 5)
    assert grid.shape == (3, 5, 4)
    assert grid[0, 4].tolist() == [0, 1, 1, 0]
    assert grid[1, 1].tolist() == [0.5, 0.25, 0.5, 0.75]


def test_embedding_adds_a_linear_map_of_the_ramps_at_each_place():
    embedding = SoftPositionEmbedding((3, 5), channels=6)
    x = torch.randn(2, 6, 3, 5)
    weight, bias = embedding.projection.weight, embedding.projection.bias
    expected = x[:, :, 2, 1] + weight @ torch.tensor([1, 0.25, 0, 0.75]) + bias
    torch.testing.assert_close(embedding(x)[:, :, 2, 1], expected)


def test_maps_of_another_size_are_refused():
    embedding = SoftPositionEmbedding((3, 5), channels=6)
    with pytest.raises(RequestError, match="positions of 3x5 feature maps cannot be added to maps of 5x3"):
        embedding(torch.zeros(1, 6, 5, 3))


def test_cosine_grid_holds_all_products_but_the_constant():
    found = cosine_grid(3, 5, 3)
    assert found.shape == (8, 3, 5)
    y, x = torch.linspace(0, math.pi, 3)[:, None], torch.linspace(0, math.pi, 5)
    torch.testing.assert_close(found[0], x.cos().expand(3, 5))  # i, j = 0, 1
    torch.testing.assert_close(found[4], (y.cos() * (2 * x).cos()))  # i, j = 1, 2
    torch.testing.assert_close(found[7], (2 * y).cos() * (2 * x).cos())
