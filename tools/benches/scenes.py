"""Made-up label maps like those of data and of a trained method."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NOISE = 0.05  # share of the pixels that are predicted at random
MERGED = 0.5  # share of the images in which two planes are predicted as one


def label_maps(count: int, size: int, slots: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Predictions and the truth, uint8 (count,size,size) each, with labels below `slots`.

    The truth has 1 to slots - 1 discs of 1/8 to 3/8 of the width, later ones over earlier ones. The prediction is the
    truth with its labels permuted, in some images two planes merged, and some noise.
    """
    rng = np.random.default_rng(seed)
    pairs = [_scene(rng, size, slots) for _ in range(count)]
    pred, true = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
    return pred, true


def _scene(rng: np.random.Generator, size: int, slots: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    y, x = np.mgrid[:size, :size]
    true = np.zeros((size, size), np.uint8)
    for label in range(1, rng.integers(2, slots + 1)):
        (cy, cx), radius = rng.integers(0, size, 2), size * rng.uniform(1 / 16, 3 / 16)
        true[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = label
    planes = rng.permutation(slots).astype(np.uint8)
    if rng.random() < MERGED:
        first, second = rng.choice(slots, 2, replace=False)
        planes[first] = planes[second]
    noise = rng.integers(0, slots, (size, size), np.uint8)
    return np.where(rng.random((size, size)) < NOISE, noise, planes[true]), true
