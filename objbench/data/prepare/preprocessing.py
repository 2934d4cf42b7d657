"""From the resolution of a release to that of a protocol: crop, then resize, with Pillow.

Only Pillow's filters give the pixels that the field trains on: its bicubic and bilinear are anti-aliased, and its
nearest takes other columns than torch's. The crop is a step of its own, because a resize with a `box` lets the filter
reach pixels outside the box.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from objbench.data.format.sample import visible_ids
from objbench.data.scene import Array, SceneBatch
from objbench.errors import ObjbenchError


@dataclass(frozen=True)
class Preprocessing:
    """What is done to every scene, and which scenes still qualify after the crop.

    Attributes:
        size: (height, width) of the result.
        crop: (left, top, right, bottom) in pixels, the last two exclusive; None: the whole frame.
        image, mask: Names of Pillow's filters; None: scenes of another size are refused.
        max_visible: Most objects that a scene may have after the crop; None: any number.
    """

    size: tuple[int, int]
    crop: tuple[int, int, int, int] | None = None
    image: str | None = None
    mask: str | None = None
    max_visible: int | None = None

    def __call__(self, batch: SceneBatch) -> SceneBatch:
        """The qualifying scenes of `batch`, cropped and resized; labels keep their values.

        Raises:
            ObjbenchError: The scenes cannot be brought to the size.
        """
        batch = self.selected(batch)
        if batch.masks.shape[1:] == self.size:
            return batch
        if self.image is None or self.mask is None:
            raise self._wrong_size(batch)
        images, masks = (
            _resized(batch.images, self.size, self.image),
            _resized(batch.masks, self.size, self.mask),
        )
        return replace(batch, images=images, masks=masks)

    def selected(self, batch: SceneBatch) -> SceneBatch:
        """The qualifying scenes of `batch`, cropped but not resized."""
        batch = self._cropped(batch)
        if self.max_visible is None:
            return batch
        kept = [len(visible_ids(mask)) <= self.max_visible for mask in batch.masks]
        return batch[np.array(kept, bool)]

    def _cropped(self, batch: SceneBatch) -> SceneBatch:
        if self.crop is None:
            return batch
        left, top, right, bottom = self.crop
        height, width = batch.masks.shape[1:]
        if right > width or bottom > height:
            raise ObjbenchError(
                f"the crop {self.crop} does not fit into the source's scenes of {height}x{width}"
            )
        part = np.s_[:, top:bottom, left:right]
        return replace(batch, images=batch.images[part], masks=batch.masks[part])

    def _wrong_size(self, batch: SceneBatch) -> ObjbenchError:
        height, width = self.size
        return ObjbenchError(
            f"scenes must be {height}x{width}; the source gave images {batch.images.shape} "
            f"and masks {batch.masks.shape}"
        )


def _resized(pixels: Array, size: tuple[int, int], name: str) -> Array:
    """Pixels uint8 (N,H,W) or (N,H,W,3) at another size."""
    height, width = size
    resized = np.empty((len(pixels), height, width, *pixels.shape[3:]), np.uint8)
    for row, scene in enumerate(pixels):
        image = Image.fromarray(np.ascontiguousarray(scene))
        resized[row] = np.asarray(image.resize((width, height), Image.Resampling[name.upper()]))
    return resized
