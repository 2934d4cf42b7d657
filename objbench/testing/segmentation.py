"""Checks of `segment`: shapes, independence of the batch, no traces left in the method."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from objbench.methods.base import Segmentation
from objbench.methods.create import build
from objbench.testing.kit import BATCH, ContractError, Kit, demand, demand_equal, same
from objbench.train.checkpoint import load_weights, save_weights
from objbench.train.evaluate import segment

IMAGES = 6


def check_segmentation(kit: Kit) -> None:
    """`segment` gives labels and masks of the promised shapes and ranges, for one image and for several."""
    for count in (1, BATCH + 1):
        _check_one(kit, kit.segment(kit.method(), slice(count)), count)


def _check_one(kit: Kit, found: Segmentation, count: int) -> None:
    channels, height, width = kit.dataset.spec.image_shape
    prediction = found.prediction
    demand(
        tuple(prediction.shape) == (count, height, width),
        f"prediction of shape {tuple(prediction.shape)}",
    )
    if found.masks is not None:
        demand(found.masks.is_floating_point(), f"masks are {found.masks.dtype}, expected floating point")
        demand(bool(found.masks.isfinite().all()), "masks are not finite")
        sums = found.masks.float().sum(1)
        near = bool((sums - 1).abs().max() < 1e-3)
        demand(near or not found.partition, "masks do not sum to one although partition is True")
    planes = int(prediction.max()) + 1 if found.masks is None else found.masks.shape[1]
    demand(int(prediction.min()) >= 0, "labels below 0")
    shapes = {
        "reconstruction": (found.reconstruction, (count, channels, height, width)),
        "components": (found.components, (count, planes, channels, height, width)),
    }
    for name, (value, shape) in shapes.items():
        if value is not None:
            fits = tuple(value.shape) == shape
            demand(fits, f"{name} of shape {tuple(value.shape)}, expected {shape}")
            demand(bool(value.isfinite().all()), f"{name} is not finite")
    for name, value, dims in (("slots", found.slots, 3), ("attention", found.attention, 4)):
        fits = value is None or (value.ndim == dims and len(value) == count)
        demand(fits, f"{name} has to have {dims} axes, the images first")
    if found.slots is not None:
        rows, finite = found.slots.shape[1], bool(found.slots.isfinite().all())
        demand(rows == planes or (found.masks is None and rows > planes), f"{rows} slots for {planes} planes")
        demand(finite, "slots are not finite")
    for name, reading in found.alternatives.items():
        size = tuple(reading.shape) if reading.ndim == 3 else (*reading.shape[:1], *reading.shape[2:])
        fits = size == (count, height, width)
        demand(fits, f"alternatives['{name}'] of shape {tuple(reading.shape)}: neither masks nor labels")
    _check_boxes(found, count, planes)


def _check_boxes(found: Segmentation, count: int, planes: int) -> None:
    boxes, presence = found.extras.get("boxes"), found.extras.get("presence")
    if boxes is None or presence is None:
        demand(boxes is presence, "extras have either both boxes and presence or neither")
        return
    number = presence.shape[-1]
    for name, shape in (("boxes", (count, number, 4)), ("presence", (count, number))):
        values = found.extras[name]
        demand(tuple(values.shape) == shape, f"{name} of shape {tuple(values.shape)}, expected {shape}")
        demand(bool(values.isfinite().all()), f"{name} are not finite")
    low, high = (float(extreme) for extreme in presence.aminmax())
    demand(low >= 0 and high <= 1, f"presence from {low:.3g} to {high:.3g}, expected [0,1]")
    fits = found.masks is None or planes == number + 1
    demand(fits, f"{planes} planes for {number} boxes, expected one more, the background first")


def check_batch_size_does_not_matter(kit: Kit) -> None:
    """An image is segmented the same alone and in a batch."""
    method = kit.method()
    whole = kit.segment(method, slice(IMAGES))
    parts = [kit.segment(method, slice(i, i + 1)) for i in range(IMAGES)]
    demand_equal(whole, parts, "segment depends on the batch: draw random numbers with kit.normal")


def check_segment_changes_nothing(kit: Kit) -> None:
    """`segment` changes no weights and leaves no gradients."""
    method = kit.method()
    before = {name: _copy(value) for name, value in method.state_dict().items()}
    kit.segment(method)
    changed = [name for name, value in method.state_dict().items() if not same(value, before[name])]
    demand(not changed, f"segment changes the state of the method: {', '.join(changed)}")
    left = [name for name, parameter in method.named_parameters() if parameter.grad is not None]
    demand(not left, f"segment leaves gradients behind in {', '.join(left[:3])}")


def check_save_and_load(kit: Kit) -> None:
    """A method loaded from its weights segments as the one that was saved."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = kit.train(folder)
        sha256 = save_weights(trained, folder)
        torch.manual_seed(1)
        loaded = build(kit.config, kit.dataset)
        load_weights(loaded, folder, sha256)
    promise = "a method loaded from its weights does not segment as the saved one"
    demand_equal(kit.segment(trained), [kit.segment(loaded)], promise)


def check_other_slots(kit: Kit) -> None:
    """Where `any_slots` is True, the state fits a method with two more slots, which gives that many planes."""
    one = kit.method()
    if not one.any_slots:
        return
    more = build(replace(kit.config, config=kit.config.config | {"slots": one.slots + 2}), kit.dataset)
    try:
        more.load_state_dict(one.state_dict())
    except RuntimeError as error:
        raise ContractError(f"any_slots is True, but its state depends on the slots: {error}") from None
    found = kit.segment(more, slice(BATCH))
    planes = int(found.prediction.max()) + 1 if found.masks is None else found.masks.shape[1]
    fits = planes <= more.slots if found.masks is None else planes == more.slots
    demand(fits, f"any_slots is True, but {planes} planes were given with slots={more.slots}")


def check_bad_input(kit: Kit) -> None:
    """Images of another size are refused, or segmented at their size."""
    channels, height, width = kit.dataset.spec.image_shape
    try:
        found = segment(
            kit.method().eval(), torch.zeros(1, channels, height + 3, width + 1), ["00000000"], seed=0
        )
    except Exception:
        return  # any refusal will do
    fits = tuple(found.prediction.shape) == (1, height + 3, width + 1)
    demand(fits, "images of another size are neither refused nor segmented at their size")


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
