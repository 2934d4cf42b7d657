"""Images on a larger canvas: nothing is lost, nothing is added but black."""

from __future__ import annotations

import pytest
import torch

from objbench.errors import RequestError
from objbench.methods.parts.canvas import Canvas


def test_an_image_lies_at_the_top_left_of_black():
    images = torch.rand(2, 3, 5, 7)
    canvas = Canvas((5, 7), 8)
    put = canvas.put(images)
    assert put.shape == (2, 3, 8, 8)
    assert torch.equal(put[:, :, :5, :7], images)
    assert put.sum().item() == pytest.approx(images.sum().item(), rel=1e-5)
    assert torch.equal(canvas.crop(put), images)


def test_planes_with_more_axes_are_cropped_too():
    planes = torch.rand(2, 4, 1, 8, 8)
    assert torch.equal(Canvas((5, 7), 8).crop(planes), planes[:, :, :, :5, :7])


def test_without_a_side_images_stay_as_they_are():
    images, canvas = torch.rand(2, 3, 5, 7), Canvas((5, 7), None)
    assert canvas.size == (5, 7)
    assert canvas.put(images) is images
    assert torch.equal(canvas.crop(images), images)


def test_a_canvas_smaller_than_the_image_is_refused():
    with pytest.raises(
        RequestError, match=r"model\.canvas: expected at least 7, the larger side .*, found 6"
    ):
        Canvas((5, 7), 6)


def test_boxes_are_fractions_of_the_image():
    whole = torch.tensor([[[0.0, 0.0, 7 / 8, 5 / 8], [0.5, 0.25, 0.25, 0.125]]])
    expected = torch.tensor([[[0, 0, 1, 1], [4 / 7, 2 / 5, 2 / 7, 1 / 5]]])
    torch.testing.assert_close(Canvas((5, 7), 8).boxes(whole), expected)
