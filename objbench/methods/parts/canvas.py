"""Small images on a larger black canvas, for networks that need another size: nothing of the image is lost."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from objbench.spec.explain import refusal
from objbench.spec.settings import Count

CanvasSide = Annotated[
    Count | None,
    Field(description="side of the square black canvas that images lie on, at its top left; null: no canvas"),
]


class Canvas:
    """A square canvas of `side` pixels, with the image at its top left and zeros elsewhere.

    Args:
        image_size: (h,w) of what is put on it.
        side: the setting model.canvas; None for no canvas.

    Attributes:
        size: (H,W), of the canvas.
    """

    def __init__(self, image_size: tuple[int, int], side: int | None) -> None:
        if side is not None and side < max(image_size):
            expected = f"at least {max(image_size)}, the larger side of the image"
            raise refusal("model.canvas", expected, side)
        self.image_size = image_size
        self.size = image_size if side is None else (side, side)

    def put(self, images: Tensor) -> Tensor:
        """Images (B,C,h,w) -> (B,C,H,W)."""
        missing = [self.size[axis] - self.image_size[axis] for axis in (0, 1)]
        return pad(images, (0, missing[1], 0, missing[0])) if any(missing) else images

    def crop(self, planes: Tensor) -> Tensor:
        """Planes (...,H,W) -> (...,h,w), where the image lies."""
        return planes[..., : self.image_size[0], : self.image_size[1]]

    def boxes(self, boxes: Tensor) -> Tensor:
        """Boxes (...,4) of left, top, width and height: from fractions of the canvas to fractions of the image."""
        height, width = (self.size[axis] / self.image_size[axis] for axis in (0, 1))
        return boxes * boxes.new_tensor([width, height, width, height])
