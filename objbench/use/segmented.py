"""What a run makes of somebody's images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from objbench.errors import RequestError


@dataclass(frozen=True, repr=False, eq=False)
class SegmentedImage:
    """One image, segmented. All tensors are on the CPU. Equal to itself alone.

    Attributes:
        name: The file, or the position among the images.
        labels: uint8 (H,W), or int64 if a label is above 255, at the size of the image that was given: which plane
            each pixel belongs to.
        masks: float (M,h,w) at the size of the model; None if the method gives label maps.
        reconstruction: (3,h,w) in [0,1], not clamped; None if the method makes none.
        components: (M,3,h,w), the image of each plane before it is masked, or None.
        slots: (M,D), or None.
    """

    name: str
    labels: Tensor
    masks: Tensor | None = None
    reconstruction: Tensor | None = None
    components: Tensor | None = None
    slots: Tensor | None = None

    @property
    def segments(self) -> int:
        """How many planes have a pixel."""
        return len(torch.unique(self.labels))

    def __repr__(self) -> str:
        height, width = self.labels.shape
        return (
            f"SegmentedImage({self.name}: labels {height}x{width}, {self.segments} segments{_further(self)})"
        )


class Segmented(Sequence[SegmentedImage]):
    """Several images, segmented: a sequence of `SegmentedImage`, whose tensors can also be had together."""

    def __init__(self, images: Sequence[SegmentedImage]) -> None:
        self._images = list(images)

    @overload
    def __getitem__(self, index: int) -> SegmentedImage: ...
    @overload
    def __getitem__(self, index: slice) -> Segmented: ...
    def __getitem__(self, index: int | slice) -> SegmentedImage | Segmented:
        return Segmented(self._images[index]) if isinstance(index, slice) else self._images[index]

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[SegmentedImage]:
        return iter(self._images)

    def __repr__(self) -> str:
        if not self._images:
            return "Segmented(0 images)"
        sizes = sorted({tuple(image.labels.shape) for image in self})
        shown = f"{sizes[0][0]}x{sizes[0][1]}" if len(sizes) == 1 else f"of {len(sizes)} sizes"
        return f"Segmented({len(self)} images, labels {shown}{_further(self._images[0])})"

    @property
    def labels(self) -> Tensor:
        """The label maps (N,H,W).

        Raises:
            RequestError: The images have different sizes, or there are none.
        """
        if not self._images:
            raise RequestError("no images, so there are no label maps")
        sizes = {tuple(image.labels.shape) for image in self}
        if len(sizes) > 1:
            raise RequestError(
                f"the images have {len(sizes)} different sizes, so their label maps are not one tensor: "
                "[image.labels for image in found] is a list of them"
            )
        return torch.stack([image.labels for image in self])

    @property
    def masks(self) -> Tensor | None:
        """The masks (N,M,h,w) at the size of the model, or None."""
        return self._together("masks")

    @property
    def reconstruction(self) -> Tensor | None:
        """The reconstructions (N,3,h,w), or None."""
        return self._together("reconstruction")

    @property
    def components(self) -> Tensor | None:
        """The components (N,M,3,h,w), or None."""
        return self._together("components")

    @property
    def slots(self) -> Tensor | None:
        """The slots (N,M,D), or None."""
        return self._together("slots")

    def _together(self, what: str) -> Tensor | None:
        parts = [getattr(image, what) for image in self]
        return None if not parts or parts[0] is None else torch.stack(parts)


def _further(image: SegmentedImage) -> str:
    """What there is besides the labels, with shapes."""
    parts = [
        f"; {name} {tuple(values.shape)}"
        for name in ("masks", "components", "slots", "reconstruction")
        if (values := getattr(image, name)) is not None
    ]
    return "".join(parts)
