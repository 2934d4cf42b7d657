"""Methods that work on smaller images than they are given."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate

from objbench.errors import RequestError
from objbench.methods.base import Segmentation
from objbench.spec.settings import Count

Side = Annotated[
    Count | None, Field(description="side of the square images that it works on; null: the images' own size")
]


class Resolution:
    """The resolution that a method works at: the images' own, or squares of `side` pixels.

    Args:
        image_shape: (3,H,W) of the images.
        side: the setting model.resolution; None for the images' own size.

    Attributes:
        image_size: (H,W).
        size: (h,w), the size that the method works at.
    """

    def __init__(self, image_shape: tuple[int, int, int], side: int | None) -> None:
        self.image_shape = image_shape
        self.image_size = (image_shape[1], image_shape[2])
        self.size = self.image_size if side is None else (side, side)

    @property
    def pixels(self) -> float:
        """Pixels of an image per pixel that the method works at."""
        return math.prod(self.image_size) / math.prod(self.size)

    def downsample(self, images: Tensor) -> Tensor:
        """Images (B,3,H,W) -> (B,3,h,w), means of rectangles. Raises RequestError for images of another size."""
        if images.shape[1:] != self.image_shape:
            built, found = ("x".join(map(str, shape)) for shape in (self.image_shape, images.shape[1:]))
            raise RequestError(
                f"the method was built for images of {built} (channels x height x width), got {found}"
            )
        return images if self.size == self.image_size else interpolate(images, self.size, mode="area")

    def upsample(self, planes: Tensor) -> Tensor:
        """Planes (B,K,C,h,w) -> (B,K,C,H,W); masks that sum to one still do.

        Where the image is a whole multiple as large, each pixel is repeated: the image was averaged over just these
        squares, and corners stay corners. Elsewhere planes are interpolated between pixels.
        """
        if self.size == self.image_size:
            return planes
        (down, rest_down), (across, rest_across) = map(divmod, self.image_size, self.size)
        if rest_down == rest_across == 0:
            return planes.repeat_interleave(down, dim=-2).repeat_interleave(across, dim=-1)
        slots = planes.shape[1]
        resized = interpolate(planes.flatten(0, 1), self.image_size, mode="bilinear", align_corners=False)
        return resized.view(-1, slots, *resized.shape[1:])

    def repeat(self, labels: Tensor) -> Tensor:
        """Label maps (B,h,w) -> (B,H,W): each pixel has the label of the one that its centre lies in."""
        if self.size == self.image_size:
            return labels
        for axis, (few, many) in enumerate(zip(self.size, self.image_size, strict=True), start=1):
            centres = 2 * torch.arange(many, device=labels.device) + 1  # in halves of pixels
            labels = labels.index_select(axis, centres * few // (2 * many))
        return labels

    def segmentation(
        self, log_masks: Tensor, components: Tensor, *, slots: Tensor, attention: Tensor | None = None
    ) -> Segmentation:
        """What a mixture says about images at their own size: its masks, and the components that these compose.

        Args:
            log_masks: (B,K,1,h,w), logarithms of masks that sum to one.
            components: (B,K,3,h,w), in image units.
            slots: (B,K,D).
            attention: (B,K,*,*), at any size.
        """
        masks, components = self.upsample(log_masks.exp()), self.upsample(components)
        return Segmentation(
            masks=masks.squeeze(2),
            reconstruction=(masks * components).sum(1),
            components=components,
            slots=slots,
            attention=attention,
        )
