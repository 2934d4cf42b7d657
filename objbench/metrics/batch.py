"""A metric is a function of a batch of predictions and truth; metrics of the same batch share their work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from objbench.errors import ObjbenchError
from objbench.labels import hard_labels
from objbench.metrics.contingency import contingency
from objbench.metrics.matching import Matching, iou_matrix, match


@dataclass(frozen=True)
class Comparison:
    """A batch of predictions and truth. What several metrics need is computed once, when first used.

    Attributes:
        pred: Integer label maps (B,H,W).
        true: Integer label maps (B,H,W).
        reconstruction: float (B,C,H,W), or None.
        images: float (B,C,H,W) in [0,1], uint8, or None.
    """

    pred: Tensor
    true: Tensor
    reconstruction: Tensor | None = None
    images: Tensor | None = None

    @cached_property
    def table(self) -> Tensor:
        """The contingency table, int64 (B,P,T)."""
        return contingency(self.pred, self.true)

    @cached_property
    def iou(self) -> Tensor:
        """The intersection over union of every pair of planes, float64 (B,P,T)."""
        return iou_matrix(self.table)

    @cached_property
    def matching(self) -> Matching:
        """The planes paired by the assignment of largest summed IoU."""
        return match(self.table, self.iou)

    def __getitem__(self, images: slice) -> Comparison:
        """The comparison of a slice of the images."""
        parts = (self.pred, self.true, self.reconstruction, self.images)
        return Comparison(*(part if part is None else part[images] for part in parts))  # type: ignore[arg-type]


class Metric:
    """A metric as a decorator: the decorated function computes it from a `Comparison` shared with other metrics.

    `metric(pred, true, reconstruction=None, images=None)` computes it from tensors, as `score` takes them, and returns
    float64 (B,).

    Attributes:
        of: The decorated function. It returns None if it needs a reconstruction and images and the batch lacks one.
    """

    def __init__(self, of: Callable[[Comparison], Tensor | None]) -> None:
        self.of = of
        self.__doc__, self.__name__, self.__module__ = of.__doc__, of.__name__, of.__module__

    def __call__(
        self, pred: Tensor, true: Tensor, reconstruction: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        """The value of each image, float64 (B,)."""
        values = self.of(compare(pred, true, reconstruction, images))
        if values is None:
            missing = reconstruction is None or images is None
            why = (
                "needs both a reconstruction and images" if missing else "is not defined for images so small"
            )
            raise ObjbenchError(f"{self.__name__} {why}")
        return values

    def __repr__(self) -> str:
        return f"<metric {self.__name__}>"


def compare(
    pred: Tensor, true: Tensor, reconstruction: Tensor | None = None, images: Tensor | None = None
) -> Comparison:
    """Check the arguments of `score` and make a comparison of them.

    Raises:
        ObjbenchError: Shapes, dtypes, devices or values do not fit; the message has both shapes.
    """
    for name, given in (
        ("pred", pred),
        ("true", true),
        ("reconstruction", reconstruction),
        ("images", images),
    ):
        if not isinstance(given, Tensor | None):
            raise ObjbenchError(f"{name} must be a tensor, found {type(given).__name__}")
        if given is None:
            if name in ("pred", "true"):
                hint = (
                    "; a Segmentation has labels or masks, and always a prediction" if name == "pred" else ""
                )
                raise ObjbenchError(f"{name} must be a tensor, found None{hint}")
            continue
        if given.layout != torch.strided:
            raise ObjbenchError(
                f"{name} must be a dense tensor (torch.strided), found {_describe(given)} of layout {given.layout}"
            )
        if given.is_floating_point() and given.itemsize == 1:
            raise ObjbenchError(f"{name} must have floats of 16 bits or more, found {_describe(given)}")
    reconstruction, images = (  # metrics are no losses: their values keep no graph alive
        given if given is None else given.detach() for given in (reconstruction, images)
    )
    found = f"found pred {_describe(pred)} and true {_describe(true)}"
    labels = true[:, 0] if true.ndim == 4 and true.shape[1] == 1 else true
    if labels.ndim != 3 or not _is_integer(labels):
        raise ObjbenchError(f"true must be integer label maps (B,H,W) or (B,1,H,W); {found}")
    if not (pred.ndim == 3 and _is_integer(pred)) and not (pred.ndim == 4 and pred.is_floating_point()):
        raise ObjbenchError(f"pred must be integer label maps (B,H,W) or float masks (B,M,H,W); {found}")
    if (len(pred), *pred.shape[-2:]) != tuple(labels.shape):
        raise ObjbenchError(f"pred and true differ in the number or the size of images: {found}")
    devices = {str(given.device) for given in (pred, labels, reconstruction, images) if given is not None}
    if len(devices) > 1:
        raise ObjbenchError(f"the tensors are on {' and '.join(sorted(devices))}; move them to one device")
    if not pred.numel():
        raise ObjbenchError(f"nothing to score: {found}")
    if reconstruction is not None and images is not None:
        _check_images(reconstruction, images, len(pred))
    predicted = hard_labels(pred) if pred.ndim == 4 else _computable(pred)
    return Comparison(predicted, _computable(labels), reconstruction, images)


def _check_images(reconstruction: Tensor, images: Tensor, count: int) -> None:
    found = f"found reconstruction {_describe(reconstruction)} and images {_describe(images)}"
    if reconstruction.shape != images.shape or images.ndim != 4 or len(images) != count:
        raise ObjbenchError(f"reconstruction and images must both be (B,C,H,W) with B = {count}; {found}")
    if not reconstruction.is_floating_point() or not (
        images.is_floating_point() or images.dtype == torch.uint8
    ):
        raise ObjbenchError(f"reconstruction must be float, images float in [0,1] or uint8; {found}")
    if images.is_floating_point():
        low, high = (float(extreme) for extreme in images.aminmax())
        if not (low >= 0 and high <= 1):
            raise ObjbenchError(
                f"images must be float in [0,1] or uint8; found values from {low:g} to {high:g}"
            )
    finite = reconstruction.isfinite().flatten(1).all(1)
    if not finite.all():
        image = int((~finite).nonzero()[0])
        raise ObjbenchError(
            f"the reconstruction of image {image} of the batch is not finite ({_describe(reconstruction)}); "
            f"{int((~finite).sum())} of {count} images are affected; did the training diverge?"
        )
    mean = reconstruction.mean()
    if (reconstruction.amin() >= 0) & (mean > 2):  # a bad one is too bright here and there, not as a whole
        low, high = (float(extreme) for extreme in reconstruction.aminmax())
        raise ObjbenchError(
            f"reconstruction must be in image units, [0,1] but for an overshoot; found values from {low:g} to {high:g} with "
            f"a mean of {float(mean):g}: divide it by 255?"
        )


def _computable(labels: Tensor) -> Tensor:
    """`labels` in a dtype that torch can compute with; it only stores uint16 to uint64."""
    return labels if labels.dtype == torch.uint8 or labels.dtype.is_signed else labels.long()


def _is_integer(labels: Tensor) -> bool:
    return not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
