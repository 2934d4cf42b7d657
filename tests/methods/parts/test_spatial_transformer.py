"""Boxes to glimpses and back: where things end up, against pictures that are known."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import affine_grid, grid_sample

from objbench.methods.parts.position import coordinate_grid
from objbench.methods.parts.spatial_transformer import boxes, cell_centres, extract, paste

RIGHT_HALF = torch.tensor([[[0.5, 1.0, 0.5, 0.0]]])  # sx, sy, tx, ty


def smooth(height, width):
    y, x = coordinate_grid(height, width).double()
    return torch.stack([(2 * x + y).sin(), (x - 2 * y).cos(), x * y])[None]


def test_a_box_of_the_whole_image_is_the_image():
    image, whole = torch.rand(2, 3, 6, 9), torch.tensor([1.0, 1, 0, 0]).expand(2, 1, 4)
    torch.testing.assert_close(extract(image, whole, (6, 9))[:, 0], image)
    torch.testing.assert_close(paste(image[:, None], whole, (6, 9))[:, 0], image)


def test_x_comes_before_y():
    image = torch.zeros(1, 1, 4, 8)
    image[..., 4:] = 1  # the right half
    assert torch.equal(extract(image, RIGHT_HALF, (4, 4)), torch.ones(1, 1, 1, 4, 4))
    torch.testing.assert_close(paste(torch.ones(1, 1, 1, 4, 4), RIGHT_HALF, (4, 8))[:, 0], image)
    lower = torch.tensor([[[1.0, 0.5, 0.0, 0.5]]])
    placed = paste(torch.ones(1, 1, 1, 4, 4), lower, (8, 4))[0, 0, 0]
    assert torch.equal(placed, torch.tensor([0.0, 1]).repeat_interleave(4)[:, None].expand(8, 4))


def test_a_box_wide_in_x_covers_few_rows_and_many_columns():
    placed = paste(torch.ones(1, 1, 1, 8, 8), torch.tensor([[[0.75, 0.25, 0.0, 0.0]]]), (32, 32))[0, 0, 0]
    rows, columns = (placed > 0.5).any(1).sum(), (placed > 0.5).any(0).sum()
    assert (int(rows), int(columns)) == (8, 24)


def test_extract_and_place_are_those_of_torch_with_affine_matrices():
    torch.manual_seed(0)
    image, glimpse = torch.rand(3, 2, 10, 12).double(), torch.rand(3, 1, 2, 5, 7).double()
    where = torch.tensor([[0.4, 0.7, 0.1, -0.3], [1.3, 0.2, -0.6, 0.5], [0.05, 0.9, 0.9, 0.9]]).double()
    sx, sy, tx, ty = where.T
    zero = torch.zeros(3).double()
    out = torch.stack([sx, zero, tx, zero, sy, ty], 1).view(3, 2, 3)
    into = torch.stack([1 / sx, zero, -tx / sx, zero, 1 / sy, -ty / sy], 1).view(3, 2, 3)
    expected = grid_sample(image, affine_grid(out, [3, 2, 5, 7], align_corners=False), align_corners=False)
    torch.testing.assert_close(extract(image, where[:, None], (5, 7))[:, 0], expected)
    expected = grid_sample(
        glimpse[:, 0], affine_grid(into, [3, 2, 10, 12], align_corners=False), align_corners=False
    )
    torch.testing.assert_close(paste(glimpse, where[:, None], (10, 12))[:, 0], expected)


def test_place_then_extract_gives_a_smooth_patch_back():
    patch, where = smooth(32, 32)[:, None], torch.tensor([[[0.5, 0.25, 0.2, -0.4]]]).double()
    canvas = paste(patch, where, (128, 128))[:, 0]
    found = extract(canvas, where, (32, 32))
    inside = (..., slice(2, -2), slice(2, -2))  # at the edges the zeros outside come in
    assert (found - patch)[inside].abs().max() < 0.01


def test_outside_the_image_there_are_zeros():
    found = extract(torch.ones(1, 1, 8, 8), torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]), (8, 8))[0, 0, 0]
    assert torch.equal(found[4], torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]))


def test_gradients_reach_glimpses_and_boxes():
    glimpse = torch.rand(1, 2, 1, 4, 4).double().requires_grad_()
    where = torch.tensor([[[0.61, 0.47, 0.13, -0.21], [0.33, 0.72, -0.17, 0.29]]]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda g, w: paste(g, w, (7, 9)), (glimpse, where))
    image = torch.rand(1, 2, 7, 9).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda i, w: extract(i, w, (4, 3)), (image, where))


def test_eps_keeps_a_box_without_size_finite():
    placed = paste(torch.ones(1, 1, 1, 4, 4), torch.tensor([[[0.0, 0.0, 0.0, 0.0]]]), (5, 5), eps=1e-9)
    assert placed.isfinite().all()


def test_coordinates_stay_in_float32_under_autocast():
    image, where = torch.rand(1, 1, 64, 64), torch.tensor([[[0.3, 0.3, 0.41, -0.37]]])
    plain = extract(image, where, (16, 16))
    with torch.autocast("cpu", torch.bfloat16):
        found = extract(image, where, (16, 16))
    assert found.dtype == torch.float32
    assert torch.equal(found, plain)


def test_centres_of_cells_run_row_by_row():
    found = cell_centres(torch.zeros(1, 6, 2), (2, 3))[0]
    third = 2 / 3
    expected = [(-third, -0.5), (0, -0.5), (third, -0.5), (-third, 0.5), (0, 0.5), (third, 0.5)]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_an_offset_of_one_reaches_half_a_cell_beyond_the_cell():
    offset = torch.zeros(1, 16, 2)
    offset[0, 0] = torch.tensor([1.0, -1.0])
    assert cell_centres(offset, (4, 4))[0, 0].tolist() == pytest.approx([-0.75 + 0.5, -0.75 - 0.5])


def test_cells_may_be_larger_than_the_image_needs():
    found = cell_centres(torch.zeros(1, 9, 2), (3, 3), side=(12 / 35, 12 / 35))[0]
    assert found[4].tolist() == pytest.approx([2 * 18 / 35 - 1] * 2, abs=1e-6)


def test_boxes_are_left_top_width_height():
    assert boxes(RIGHT_HALF).tolist() == [[[0.5, 0.0, 0.5, 1.0]]]
    where = torch.tensor([0.2, 0.4, -0.5, 0.5])
    assert boxes(where).tolist() == pytest.approx([0.15, 0.55, 0.2, 0.4])


def test_taking_glimpses_does_not_repeat_the_image_for_each_box():
    images, where = torch.rand(1, 3, 64, 64, requires_grad=True), torch.full((1, 50, 4), 0.25)
    held: dict[int, int] = {}

    def keep(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        glimpses = extract(images, where, (4, 4))
    assert glimpses.shape == (1, 50, 3, 4, 4)
    grid = 50 * 4 * 4 * 2 * 4
    assert sum(held.values()) <= images.nbytes + grid
