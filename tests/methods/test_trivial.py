"""What ignores the image: one segment, and a grid whose cells are counted by hand."""

from __future__ import annotations

import pytest
import torch

from objbench.methods.create import create
from objbench.methods.parts.plane_moments import plane_moments
from objbench.methods.trivial import grid_labels


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.rand(2, 3, 35, 35)


def test_one_slot_is_the_whole_image_in_its_mean_colour(images):
    found = create("one_slot", "tetrominoes").segment(images)
    assert (found.labels == 0).all()
    for image, painted in zip(images, found.reconstruction, strict=True):
        torch.testing.assert_close(painted, image.flatten(1).mean(1)[:, None, None].expand_as(image))
    assert torch.equal(found.slots, plane_moments(images, found.labels, 1))


@pytest.mark.parametrize(
    ("cells", "rows"),
    [
        (1, [[0, 0, 0, 0, 0, 0]] * 6),
        (2, [[0, 0, 0, 1, 1, 1]] * 6),
        (5, [[0, 0, 0, 1, 1, 1]] * 3 + [[2, 2, 3, 3, 4, 4]] * 3),
        (7, [[0, 0, 0, 1, 1, 1]] * 2 + [[2, 2, 2, 3, 3, 3]] * 2 + [[4, 4, 5, 5, 6, 6]] * 2),
        (9, [[0, 0, 1, 1, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5]] * 2 + [[6, 6, 7, 7, 8, 8]] * 2),
    ],
)
def test_rows_are_of_equal_height_and_cut_into_equal_columns(cells, rows):
    assert grid_labels(6, 6, cells).tolist() == rows


def test_a_grid_has_one_cell_for_each_slot(images):
    found = create("grid", "tetrominoes", slots=6).segment(images)
    assert torch.equal(found.labels, grid_labels(35, 35, 6).expand(2, -1, -1))
    assert torch.equal(found.slots, plane_moments(images, found.labels, 6))
