"""Encoding the PNGs, the part of preparing scenes that no reader or writer can avoid."""

from __future__ import annotations

from functools import cache

import numpy as np

from objbench.data.format import png
from objbench.data.scene import Array


def encode_pngs(job: tuple[str, int, int]) -> int:
    """Encode images and label maps [start, stop), repeating those in a file. Returns the number of bytes."""
    path, start, stop = job
    images, masks = _pixels(path)
    return sum(
        len(png.encode(images[i % len(images)])) + len(png.encode(masks[i % len(masks)]))
        for i in range(start, stop)
    )


@cache
def _pixels(path: str) -> tuple[Array, Array]:
    with np.load(path) as arrays:
        return arrays["images"], arrays["masks"]
