"""Predictions of some images, as they are saved."""

from __future__ import annotations

from dataclasses import dataclass

from objbench.data.scene import Array

BATCH_BYTES = 2**24
BATCH_IMAGES = 256


@dataclass(frozen=True)
class SavedBatch:
    """Saved values, not yet checked.

    Attributes:
        rows: Positions of the images in the split.
        masks: (B,H,W) or (B,M,H,W).
        reconstruction: (B,3,H,W) or None.
        damaged: Files that could not be decoded.
        unclamped: Whether the reconstruction is known to be in image units, wherever its values lie.
    """

    rows: list[int]
    masks: Array
    reconstruction: Array | None
    damaged: tuple[str, ...] = ()
    unclamped: bool = False


def images_per_batch(bytes_per_image: int) -> int:
    """The number of images to read at a time, so that a batch needs little memory."""
    return max(1, min(BATCH_IMAGES, BATCH_BYTES // max(1, bytes_per_image)))
