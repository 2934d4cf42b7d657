from __future__ import annotations

import numpy as np
from benches.picture_statistics import distance, statistics


def test_statistics_of_a_picture_by_hand():
    images = np.zeros((1, 4, 4, 3), np.uint8)
    masks = np.zeros((1, 4, 4), np.uint8)
    images[0, :, 2:] = (30, 60, 90)  # grey 60
    masks[0, 2:, 2:] = 3
    found = statistics(images, masks)
    names = ("red", "green", "blue", "edges", "edges of masks", "edges on the ground", "edges inside objects")
    assert [found.mean(name) for name in names] == [15, 30, 45, 20, 30, 20, 0]
    assert [found.mean(name) for name in ("objects in a scene", "pixels of an object")] == [1, 4]
    assert found.histograms["red"][0].nonzero()[0].tolist() == [0, 3]
    assert found.histograms["pixels of an object"].tolist() == [[1, 0, 0, 0, 0, 0, 0, 0]]


def test_parts_of_a_set_are_put_together_by_their_pixels():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    masks = np.zeros((2, 4, 4), np.uint8)
    masks[0, 0] = (1, 1, 2, 0)
    masks[1, :2] = 1
    found = statistics(images, masks)
    assert found.mean("pixels of an object") == (2 + 1 + 8) / 3
    assert found.only(np.array([1])).mean("pixels of an object") == 8


def test_the_distance_of_histograms():
    assert distance(np.array([[1, 0], [0, 1]]), np.array([[5, 5]])) == 0
    assert distance(np.array([[2, 0]]), np.array([[0, 9]])) == 1
    assert distance(np.array([[1, 3]]), np.array([[3, 1]])) == 0.5
