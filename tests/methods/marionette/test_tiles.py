"""The four tilings against a canvas per anchor, in double precision."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import affine_grid, grid_sample

from objbench.methods.marionette.tiles import (
    group_canvases,
    image_windows,
    in_order,
    most_seen,
    moved,
    owners,
    paint_over,
)

GROUPS = [(0, 0), (0, 1), (1, 0), (1, 1)]
GRIDS = [(2, 4), (4, 2), (4, 6)]  # anchors per row, side of a cell


def on_canvas(window, row, column, anchors):
    """A window (C,2s,2s) on a canvas (C,ns,ns) of its own, pixel by pixel."""
    cell = window.shape[-1] // 2
    canvas = window.new_zeros(len(window), anchors * cell, anchors * cell)
    for y in range(2 * cell):
        for x in range(2 * cell):
            down, right = row * cell - cell // 2 + y, column * cell - cell // 2 + x
            if 0 <= down < anchors * cell and 0 <= right < anchors * cell:
                canvas[:, down, right] = window[:, y, x]
    return canvas


def naive(windows, background, order):
    """The picture (B,3,H,W) and a mask per anchor (B,1+N,H,W), the background first: 1 - sum."""
    pictures, masks = [], []
    for image, back, groups in zip(windows, background, order.tolist(), strict=True):
        anchors, picture, painted = image.shape[1], back, []
        for layer, windows_of_layer in enumerate(image):
            for row_parity, column_parity in (GROUPS[group] for group in groups):
                for row in range(row_parity, anchors, 2):
                    for column in range(column_parity, anchors, 2):
                        canvas = on_canvas(windows_of_layer[row, column], row, column, anchors)
                        picture = (1 - canvas[3]) * picture + canvas[3] * canvas[:3]
                        painted.append(((layer * anchors + row) * anchors + column, canvas[3]))
        of_anchor, left = {}, torch.ones_like(back[0])
        for number, alpha in reversed(painted):
            of_anchor[number] = alpha * left
            left = left * (1 - alpha)
        planes = torch.stack([of_anchor[number] for number in range(len(painted))])
        pictures.append(picture)
        masks.append(torch.cat([1 - planes.sum(0, keepdim=True), planes]))
    return torch.stack(pictures), torch.stack(masks)


def scene(anchors, cell, layers=2, batch=3):
    generator = torch.Generator().manual_seed(anchors)
    shape = (batch, layers, anchors, anchors, 4, 2 * cell, 2 * cell)
    windows = torch.rand(shape, generator=generator, dtype=torch.float64)
    background = torch.rand(batch, 3, anchors * cell, anchors * cell, generator=generator).double()
    order = torch.rand(batch, 4, generator=generator).argsort(1)
    return windows, background, order


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("anchors", "cell"), GRIDS)
def test_picture_and_masks_are_those_of_a_canvas_per_anchor(anchors, cell, layers):
    windows, background, order = scene(anchors, cell, layers)
    expected, masks = naive(windows, background, order)
    painting = paint_over(background, in_order(group_canvases(windows), order))
    torch.testing.assert_close(painting.picture, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(painting.seen[:, 0], masks[:, 0], rtol=0, atol=1e-12)
    owner = owners(anchors, anchors * cell)
    reached = group_canvases(torch.ones_like(windows[:, :1, ..., :1, :, :]))[:, 0, :, 0]
    for plane in range(4 * layers):  # a group shows at each pixel what its owner shows, and elsewhere nothing
        layer, group = plane // 4, order[:, plane % 4]
        number = 1 + layer * anchors**2 + owner[group]
        shown = masks.gather(1, number[:, None])[:, 0] * reached[torch.arange(3), group]
        torch.testing.assert_close(painting.seen[:, 1 + plane], shown, rtol=0, atol=1e-12)
    labels = most_seen(painting.seen, order, owner, anchors**2)
    assert torch.equal(labels, masks.argmax(1))
    assert len(labels.unique()) > anchors**2


@pytest.mark.parametrize("values", [(0.0,), (0.0, 0.5), (0.0, 0.5, 1.0)])
def test_the_lowest_number_wins_ties_as_in_an_arg_max_over_all_planes(values):
    windows, background, order = scene(4, 2)
    choice = torch.randint(
        len(values), windows[:, :, :, :, 3].shape, generator=torch.Generator().manual_seed(1)
    )
    windows[:, :, :, :, 3] = torch.tensor(values, dtype=torch.float64)[choice]
    _, masks = naive(windows, background, order)
    painting = paint_over(background, in_order(group_canvases(windows), order))
    labels = most_seen(painting.seen, order, owners(4, 8), 16)
    best = masks.amax(1, keepdim=True)
    if 0.5 in values:
        assert ((masks == best).sum(1) > 1).any()
    assert torch.equal(labels, (masks == best).int().argmax(1))


def test_what_is_seen_sums_to_one():
    windows, background, order = scene(4, 2)
    seen = paint_over(background, in_order(group_canvases(windows), order)).seen
    torch.testing.assert_close(seen.sum(1), torch.ones_like(seen[:, 0]))


def test_another_order_of_the_groups_is_another_picture():
    windows, background, order = scene(4, 2)
    one, two = (
        paint_over(background, in_order(group_canvases(windows), o)).picture for o in (order, order.flip(1))
    )
    assert (one - two).abs().max() > 0.1


@pytest.mark.parametrize(("anchors", "cell"), GRIDS)
def test_a_window_is_centred_on_its_cell_with_zeros_outside_of_the_image(anchors, cell):
    images = 1 + torch.rand(2, 3, anchors * cell, anchors * cell)
    found = image_windows(images, anchors)
    assert found.shape == (2, anchors, anchors, 3, 2 * cell, 2 * cell)
    for row in range(anchors):
        for column in range(anchors):
            place = on_canvas(torch.ones(1, 2 * cell, 2 * cell), row, column, anchors)
            back = on_canvas(found[1, row, column], row, column, anchors)
            assert torch.equal(back, images[1] * place)
    assert (found[0, 0, 0, :, 0] == 0).all()


def test_a_shift_moves_to_the_right_and_down_by_pixels():
    windows = torch.rand(1, 4, 8, 8, dtype=torch.float64)
    found = moved(windows, torch.tensor([[2 * 2 / 8, -3 * 2 / 8]], dtype=torch.float64))  # 2 right, 3 up
    torch.testing.assert_close(found[..., :5, 2:], windows[..., 3:, :6])
    torch.testing.assert_close(
        found[0, :3, :5, 0], windows[0, :3, 3:, 0]
    )  # colours beyond the edge: the edge's
    assert found[0, 3, :, :2].abs().max() < 1e-12
    assert found[0, 3, 5:].abs().max() < 1e-12


def test_a_shift_by_parts_of_pixels_is_that_of_torch():
    torch.manual_seed(0)
    windows, shift = torch.rand(5, 4, 8, 8, dtype=torch.float64), torch.rand(5, 2, dtype=torch.float64) - 0.5
    theta = torch.cat([torch.eye(2, dtype=torch.float64).expand(5, 2, 2), -shift[..., None]], dim=2)
    grid = affine_grid(theta, [5, 1, 8, 8], align_corners=False)
    colours = grid_sample(windows[:, :3], grid, padding_mode="border", align_corners=False)
    alpha = grid_sample(windows[:, 3:], grid, padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(moved(windows, shift), torch.cat([colours, alpha], dim=1))


def test_bfloat16_windows_are_moved_in_float32():
    assert moved(torch.rand(1, 4, 4, 4).bfloat16(), torch.zeros(1, 2).bfloat16()).dtype == torch.float32
