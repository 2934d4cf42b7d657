"""Colour and place of segments, against sums written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import torch

from objbench.methods.parts.plane_moments import MOMENTS, plane_moments


def by_hand(image: np.ndarray, labels: np.ndarray, plane: int) -> list[float]:
    """The nine numbers of one plane; image (3,H,W)."""
    height, width = labels.shape
    pixels = [(r, c) for r in range(height) for c in range(width) if labels[r, c] == plane]
    if not pixels:
        return [0.0] * MOMENTS
    rows = [(r + 0.5) / height for r, _ in pixels]
    columns = [(c + 0.5) / width for _, c in pixels]
    color = [np.mean([image[channel, r, c] for r, c in pixels]) for channel in range(3)]
    spread = np.cov(np.stack([rows, columns]), ddof=0)
    place = [len(pixels) / (height * width), np.mean(rows), np.mean(columns)]
    return [*color, *place, spread[0, 0], spread[0, 1], spread[1, 1]]


def test_equal_to_sums_over_the_pixels_of_each_plane():
    random = np.random.default_rng(0)
    images, labels = random.random((3, 3, 5, 7)), random.integers(0, 3, (3, 5, 7))
    found = plane_moments(torch.from_numpy(images).float(), torch.from_numpy(labels), planes=4)
    assert found.shape == (3, 4, MOMENTS)
    expected = [[by_hand(images[i], labels[i], plane) for plane in range(4)] for i in range(3)]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_other_images_of_the_batch_change_nothing():
    images, labels = torch.rand(4, 3, 6, 6), torch.randint(0, 3, (4, 6, 6))
    whole = plane_moments(images, labels, 3)
    assert torch.equal(plane_moments(images[2:3], labels[2:3], 3), whole[2:3])
