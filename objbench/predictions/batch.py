"""Predictions of a few images as they were saved."""

from __future__ import annotations

from dataclasses import dataclass

from objbench.data.scene import Array

BATCH_BYTES = 2**24
BATCH_IMAGES = 256


@dataclass(frozen=True)
class SavedBatch:
    """Saved values, not yet looked at: `rows` are positions in the split, `damaged` says what could not be read.

    masks  (B,H,W) or (B,M,H,W);  reconstruction  (B,3,H,W) or None
    """

    rows: list[int]
    masks: Array
    reconstruction: Array | None
    damaged: tuple[str, ...] = ()


def images_per_batch(bytes_per_image: int) -> int:
    """How many images are read at a time, so that memory stays small."""
    return max(1, min(BATCH_IMAGES, BATCH_BYTES // max(1, bytes_per_image)))
