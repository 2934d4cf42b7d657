"""Check the shape, dtype and values of masks and reconstructions, and convert them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from objbench.data.scene import Array
from objbench.errors import ObjbenchError
from objbench.labels import hard_labels
from objbench.metrics.contingency import MAX_PLANES
from objbench.predictions.target import Problems

Shape = tuple[int, ...]
CHANNELS = 3
_PLAUSIBLE = (-0.5, 1.5)  # values of a reconstruction in [0,1] that is not clamped
MASKS_EXPECTED = "expected label maps (N,H,W) or planes (N,M,H,W)"
RECONSTRUCTION_EXPECTED = "expected (N,3,H,W), float in [0,1] or uint8"


def image_masks(where: str, shape: Shape, dtype: np.dtype, size: tuple[int, int]) -> Shape:
    """The shape of one image's masks: (H,W) for a label map, (M,H,W) for planes.

    Args:
        where: Name of the array for messages.
        shape: Shape of the array of all images: label maps (N,H,W), or (N,1,H,W) of integers; planes (N,M,H,W) or
            (N,M,1,H,W) of any numbers.
        dtype: Its dtype.
        size: (H,W) of the images.

    Raises:
        ObjbenchError: The array has another shape or dtype.
    """
    found = f"found {dtype} {shape}"
    if dtype.kind not in "biuf" or (dtype.kind == "f" and dtype.itemsize > 8):
        raise ObjbenchError(f"{where}: {MASKS_EXPECTED} of integers, bool or float16 to float64, {found}")
    if len(shape) not in (3, 4, 5):
        raise ObjbenchError(f"{where}: {MASKS_EXPECTED}, {found}")
    if shape[-2:] != size:
        _refuse_last_place(where, "masks", shape, size)
        _refuse_size(where, shape, size)
    planes = shape[1:-2]
    if len(planes) == 2 and planes[1] != 1:
        raise ObjbenchError(f"{where}: {MASKS_EXPECTED}, {found}")
    if not planes:
        return size
    if planes[0] == 1:
        if dtype.kind in "bf":
            raise ObjbenchError(
                f"{where}: {found} is a single plane, whose arg-max is 0 everywhere; {MASKS_EXPECTED}"
            )
        return size
    most = MAX_PLANES if dtype.kind == "f" else MAX_PLANES - 1  # of integers, pixels of no plane are one more
    if not 0 < planes[0] <= most:
        raise ObjbenchError(f"{where}: {found} has {planes[0]:,} planes, expected 2 to {most:,}")
    return planes[0], *size


def check_reconstruction(where: str, shape: Shape, dtype: np.dtype, size: tuple[int, int]) -> None:
    """Raise ObjbenchError unless this is the shape and dtype of a reconstruction: (N,3,H,W), float or uint8."""
    found = f"found {dtype} {shape}"
    if not (dtype.kind == "f" and dtype.itemsize <= 8) and dtype != np.uint8:
        raise ObjbenchError(f"{where}: {RECONSTRUCTION_EXPECTED}, {found}")
    if len(shape) == 4 and shape[-2:] != size:
        _refuse_last_place(where, "reconstruction", shape, size)
        _refuse_size(where, shape, size)
    if len(shape) != 4 or shape[1] != CHANNELS:
        raise ObjbenchError(f"{where}: {RECONSTRUCTION_EXPECTED}, {found}")


def as_tensor(values: Array) -> Tensor:
    """`values` in a dtype that torch can compute with: float16 and unsigned integers become wider ones."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 8:
        values = np.minimum(values, np.iinfo(np.int64).max)
    wider = {"f2": np.float32, "u2": np.int32, "u4": np.int64, "u8": np.int64}
    kind = f"{values.dtype.kind}{values.dtype.itemsize}"
    native = values.dtype.newbyteorder("=")
    return torch.from_numpy(values.astype(wider.get(kind, native), copy=False))


def to_labels(masks: Tensor, keys: Sequence[str], problems: Problems) -> Tensor:
    """Integer label maps (B,H,W) of masks (B,H,W) or (B,M,H,W). Images with wrong values are added to `problems`.

    Planes are scored by arg-max. A pixel that is 0 in all planes of bool or integers belongs to none of them: all such
    pixels of an image are a segment of their own, as the background of objects' masks is.
    """
    if masks.ndim == 4:
        if masks.is_floating_point():
            return _arg_max(masks, keys, problems)
        labels = _arg_max(masks.byte() if masks.dtype == torch.bool else masks, keys, problems)
        return labels.to(torch.int16).masked_fill_(~masks.bool().any(1), masks.shape[1])
    if masks.dtype == torch.bool:
        return masks.byte()
    if masks.is_floating_point():
        undefined = masks.isnan()
        broken = ((masks != masks.round()) & ~undefined).flatten(1).any(1)
        _note("masks hold NaN", undefined.flatten(1).any(1), keys, problems)
        _note("float label maps must hold whole numbers", broken, keys, problems)
    low, high = (extreme.double() for extreme in masks.flatten(1).aminmax(dim=1))
    for i in ((low < 0) | (high >= MAX_PLANES)).nonzero()[:, 0].tolist():
        span = f"{keys[i]} (from {low[i]:g} to {high[i]:g})"
        problems.add(f"labels must be 0 to {MAX_PLANES - 1}, 0 being the background", span)
    return masks.to(torch.int16)


def to_unit_range(
    reconstruction: Tensor, keys: Sequence[str], problems: Problems, unclamped: bool = False
) -> Tensor:
    """Float (B,3,H,W) with intensities in [0,1], not clamped.

    Images with values that are not finite, or far out of range unless they are known to be `unclamped`, are added to
    `problems`.
    """
    if reconstruction.dtype == torch.uint8:
        return reconstruction.double().div_(255)
    infinite = ~reconstruction.isfinite().flatten(1).all(1)
    _note("the reconstruction holds NaN or infinity", infinite, keys, problems)
    if unclamped:
        return reconstruction
    low, high = _PLAUSIBLE
    outside = ((reconstruction < low) | (reconstruction > high)).flatten(1).any(1) & ~infinite
    _note(
        f"the reconstruction is float, expected in [0,1], and has values outside [{low:g}, {high:g}] "
        "(is it in 0..255 or in [-1,1]? an overshoot may be clamped)",
        outside,
        keys,
        problems,
    )
    return reconstruction


def _arg_max(planes: Tensor, keys: Sequence[str], problems: Problems) -> Tensor:
    try:
        return hard_labels(planes)
    except ObjbenchError:  # its message names a position in the batch, which means nothing to the user
        _note("masks hold NaN", planes.isnan().flatten(1).any(1), keys, problems)
        return planes.new_zeros((len(planes), *planes.shape[2:]), dtype=torch.uint8)


def _note(kind: str, wrong: Tensor, keys: Sequence[str], problems: Problems) -> None:
    for i in wrong.nonzero()[:, 0].tolist():
        problems.add(kind, keys[i])


def _refuse_last_place(where: str, name: str, shape: Shape, size: tuple[int, int]) -> None:
    if shape[-3:-1] == size:
        what = "planes" if name == "masks" else "channels"
        to = 1 if len(shape) == 4 else 2
        raise ObjbenchError(
            f"{where}: shape {shape} has its {what} in last place, expected them before height and width: "
            f"save np.moveaxis({name}, -1, {to})"
        )


def _refuse_size(where: str, shape: Shape, size: tuple[int, int]) -> None:
    raise ObjbenchError(
        f"{where}: expected images of {size[0]}x{size[1]}, found {shape[-2]}x{shape[-1]} (shape {shape}); "
        "predictions are scored at the resolution of the prepared data"
    )
