"""Working at another resolution: means of rectangles down, masks that sum to one up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from objbench.errors import RequestError
from objbench.methods.parts.resolution import Resolution


def test_downsampling_takes_the_mean_of_each_rectangle():
    images = torch.rand(2, 3, 6, 8)
    expected = images.unflatten(2, (2, 3)).unflatten(4, (2, 4)).mean((3, 5))
    torch.testing.assert_close(Resolution((3, 6, 8), 2).downsample(images), expected)


def test_masks_sum_to_one_when_upsampled():
    masks = torch.rand(2, 3, 1, 5, 5).softmax(1)
    large = Resolution((3, 9, 11), 5).upsample(masks)
    assert large.shape == (2, 3, 1, 9, 11)
    torch.testing.assert_close(large.sum(1), torch.ones(2, 1, 9, 11))


def test_planes_are_interpolated_between_the_centres_of_pixels():
    planes = torch.rand(1, 1, 1, 5, 5, dtype=torch.float64)
    large = Resolution((3, 9, 11), 5).upsample(planes)[0, 0, 0].numpy()
    rows, columns = ((np.arange(size) + 0.5) * 5 / size - 0.5 for size in (9, 11))
    wide = np.stack([np.interp(columns, range(5), row) for row in planes[0, 0, 0].numpy()])
    expected = np.stack([np.interp(rows, range(5), column) for column in wide.T], axis=1)
    np.testing.assert_allclose(large, expected, atol=1e-12)


def test_pixels_are_repeated_where_the_image_is_a_whole_multiple_as_large():
    planes = torch.rand(2, 3, 4, 2, 3)
    large = Resolution((3, 10, 10), 2).upsample(planes[..., :2])
    expected = planes[..., [0] * 5 + [1] * 5, :][..., [0] * 5 + [1] * 5]
    assert torch.equal(large, expected)


def test_images_keep_their_size_where_no_side_is_given():
    images, planes = torch.rand(2, 3, 6, 8), torch.rand(2, 3, 1, 6, 8)
    resolution = Resolution((3, 6, 8), None)
    assert resolution.size == (6, 8)
    assert resolution.downsample(images) is images
    assert resolution.upsample(planes) is planes


def test_labels_are_repeated_where_the_centre_of_a_pixel_lies():
    labels = torch.arange(8).view(2, 2, 2)
    repeated = Resolution((3, 5, 4), 2).repeat(labels)
    columns = [[0, 0, 1, 1]]
    rows = [[0], [0], [1], [1], [1]]  # the middle one begins the second half
    expected = torch.tensor(rows) * 2 + torch.tensor(columns)
    assert torch.equal(repeated, torch.stack([expected, expected + 4]))
    assert Resolution((3, 2, 2), None).repeat(labels) is labels


@pytest.mark.parametrize(("side", "pixels"), [(2, 12), (None, 1)])
def test_each_pixel_stands_for_those_it_was_made_of(side, pixels):
    assert Resolution((3, 6, 8), side).pixels == pixels


def test_images_of_another_size_are_refused():
    with pytest.raises(RequestError, match=r"built for images of 3x6x8 .* got 3x6x7"):
        Resolution((3, 6, 8), 4).downsample(torch.zeros(1, 3, 6, 7))


def test_a_segmentation_is_as_large_as_the_images_and_composed_there():
    log_masks, components = torch.rand(2, 3, 1, 5, 5).log_softmax(1), torch.rand(2, 3, 3, 5, 5)
    slots = torch.rand(2, 3, 4)
    resolution = Resolution((3, 9, 11), 5)
    found = resolution.segmentation(log_masks, components, slots=slots)
    torch.testing.assert_close(found.masks, resolution.upsample(log_masks.exp())[:, :, 0])
    torch.testing.assert_close(found.components, resolution.upsample(components))
    expected = sum(found.masks[:, k, None] * found.components[:, k] for k in range(3))
    torch.testing.assert_close(found.reconstruction, expected)
    assert found.slots is slots
    assert found.attention is None
