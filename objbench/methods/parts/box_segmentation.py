"""The segmentation of methods that find an image's objects as boxes before a background."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from objbench.methods.base import Segmentation
from objbench.methods.parts.box_slots import box_slots
from objbench.methods.parts.canvas import Canvas
from objbench.methods.parts.resolution import Resolution
from objbench.methods.parts.spatial_transformer import boxes


class BoxPlanes(NamedTuple):
    """A scene as planes: the background, then N objects. Each is (B,1+N,C,H,W), but for the picture."""

    masks: Tensor  # C = 1, alpha times presence; the background is 1 - sum, negative where objects overlap
    composited: Tensor  # C = 1, what multiplies the colours in the picture
    components: Tensor  # C = 3, colours; black outside of a box
    picture: Tensor  # (B,1,3,H,W), the reconstruction


class BoxObjects(Protocol):
    """Samples of N objects of each image."""

    @property
    def presence(self) -> Tensor:
        """(B,N), in [0,1]."""

    @property
    def where(self) -> Tensor:
        """(B,N,4), boxes (sx, sy, tx, ty)."""

    @property
    def depth(self) -> Tensor:
        """(B,N,1), smaller is nearer."""

    @property
    def what(self) -> Tensor:
        """(B,N,Z)."""


def box_segmentation(
    planes: BoxPlanes, objects: BoxObjects, canvas: Canvas, resolution: Resolution
) -> Segmentation:
    """The background, then the objects in their order, at the size of the images.

    Args:
        planes: on the canvas.
        objects: in the order of the planes.
        canvas: on which the method puts images of its own resolution.
        resolution: of the method.
    """
    masks, composited, components, picture = (resolution.upsample(canvas.crop(part)) for part in planes)
    return Segmentation(
        masks=masks.squeeze(2),
        partition=False,
        reconstruction=picture.squeeze(1),
        components=components,
        slots=box_slots(objects.what, objects.where, objects.depth, objects.presence),
        alternatives={"composited": composited.squeeze(2)},
        extras={
            "boxes": canvas.boxes(boxes(objects.where)),
            "presence": objects.presence,
            "depth": objects.depth.squeeze(2),
        },
    )
