"""What `segment` gives, checked: kinds, dtypes and shapes, and ranges where a value outside of them would be scored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from objbench.errors import ObjbenchError
from objbench.methods.contract import Segmentation
from objbench.metrics.contingency import MAX_PLANES

_ROUNDING = 1e-3  # by which a presence may leave [0,1]


class _Kind(NamedTuple):
    """A kind of tensor. A letter stands for any size of an axis; planes M are at least one."""

    word: str  # floats or integers
    shape: tuple[int | str, ...]

    def fits(self, value: Tensor) -> bool:
        integer = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
        right = {"floats": value.is_floating_point(), "integers": integer}[self.word]
        return right and len(self.shape) == value.ndim and all(map(_same_size, self.shape, value.shape))

    def __str__(self) -> str:
        return f"{self.word} ({','.join(map(str, self.shape))})"


def _same_size(expected: int | str, found: int) -> bool:
    return found == expected if isinstance(expected, int) else expected != "M" or found > 0


def check_segmentation(hook: str, found: Segmentation, images: Tensor) -> None:
    """Refuse a Segmentation that does not keep to what its fields promise.

    Args:
        hook: `CLASS.segment`, with which the message begins.
        found: the Segmentation.
        images: (B,3,H,W), what was segmented.

    Raises:
        ObjbenchError: in one line: what was given, what was expected.
    """
    if (found.masks is None) == (found.labels is None):
        which = "neither masks nor" if found.masks is None else "both masks and"
        raise ObjbenchError(f"{hook} gave a Segmentation with {which} labels: expected one of them")
    for name in ("alternatives", "extras"):
        named = getattr(found, name)
        if not isinstance(named, Mapping) or not all(isinstance(key, str) for key in named):
            raise ObjbenchError(
                f"{hook} gave {name} of type {type(named).__name__}: expected a mapping of names to tensors"
            )
    batch, channels, height, width = images.shape
    soft, hard = _Kind("floats", (batch, "M", height, width)), _Kind("integers", (batch, height, width))
    if found.masks is not None:
        _check(hook, "masks", found.masks, soft)
    planes = "M" if found.masks is None else found.masks.shape[1]
    kinds = {
        "labels": hard,
        "reconstruction": _Kind("floats", (batch, channels, height, width)),
        "components": _Kind("floats", (batch, planes, channels, height, width)),
        "slots": _Kind("floats", (batch, planes, "D")),
        "attention": _Kind("floats", (batch, planes, "h", "w")),
    }
    for name, kind in kinds.items():
        if getattr(found, name) is not None:
            _check(hook, name, getattr(found, name), kind)
    readings = {f"alternatives['{name}']": reading for name, reading in found.alternatives.items()}
    for name, reading in readings.items():
        _check(hook, name, reading, soft, hard)
        if reading.ndim == 3:
            _check_range(hook, name, reading.long(), 0, MAX_PLANES - 1)
    if found.labels is not None:
        of_planes = [value.shape[1] for value in (found.slots, found.components) if value is not None]
        _check_range(hook, "labels", found.labels.long(), 0, min([MAX_PLANES, *of_planes]) - 1)
    _check_extras(hook, found.extras, None if found.masks is None else found.masks.shape[1], batch)


def _check_extras(hook: str, extras: Mapping[str, Any], planes: int | None, batch: int) -> None:
    if "loss" in extras:
        _check(hook, "extras['loss']", extras["loss"], _Kind("floats", (batch,)))
    if ("boxes" in extras) != ("presence" in extras):
        one, other = ("boxes", "presence") if "boxes" in extras else ("presence", "boxes")
        raise ObjbenchError(
            f"{hook} gave extras['{one}'] without extras['{other}']: expected both or neither"
        )
    if "boxes" not in extras:
        return
    presence = extras["presence"]
    _check(hook, "extras['presence']", presence, _Kind("floats", (batch, "N")))
    number = presence.shape[1]
    _check(hook, "extras['boxes']", extras["boxes"], _Kind("floats", (batch, number, 4)))
    if "depth" in extras:
        _check(hook, "extras['depth']", extras["depth"], _Kind("floats", (batch, number)))
    if planes is not None and planes != number + 1:
        raise ObjbenchError(
            f"{hook} gave {planes} planes for {number} boxes: expected one more than boxes, the background first"
        )
    _check_range(hook, "extras['presence']", presence, 0, 1, _ROUNDING)
    for name in ("boxes", "depth"):
        if name in extras and not extras[name].isfinite().all():
            raise ObjbenchError(
                f"{hook} gave extras['{name}'] that are not finite; did the training diverge?"
            )


def _check(hook: str, name: str, value: Any, *kinds: _Kind) -> None:
    if isinstance(value, Tensor):
        dense = value.layout == torch.strided
        if dense and any(kind.fits(value) for kind in kinds):
            return
        dtype = str(value.dtype).removeprefix("torch.")
        found = f"{'' if dense else 'sparse '}{dtype} ({','.join(map(str, value.shape))})"
    else:
        found = f"type {type(value).__name__}"
    expected = " or ".join(map(str, kinds))
    raise ObjbenchError(f"{hook} gave {name} of {found}: expected a tensor of {expected}")


def _check_range(hook: str, name: str, values: Tensor, least: int, most: int, rounding: float = 0.0) -> None:
    if not values.numel():
        return
    low, high = (extreme.item() for extreme in values.detach().aminmax())
    if not (low >= least - rounding and high <= most + rounding):
        diverged = "; did the training diverge?" if math.isnan(low) else ""
        raise ObjbenchError(
            f"{hook} gave {name} from {low:.4g} to {high:.4g}: expected {least} to {most}{diverged}"
        )
