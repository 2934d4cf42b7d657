"""Checks of `segment`: shapes, independence of the batch, no traces left in the method."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from objbench.errors import brief, first_few
from objbench.methods.create import build
from objbench.testing.kit import BATCH, ContractError, Kit, demand, demand_equal, same
from objbench.train.checkpoint import load_weights, save_weights
from objbench.train.evaluate import segment
from objbench.train.state_names import StateNames

IMAGES = 6
FAR = 10.0  # of values in units of the image


def check_segmentation(kit: Kit) -> None:
    """`segment` gives finite masks that sum to one, and images and boxes in the promised units.

    `Method` checks all dtypes and shapes; units are checked here, as a failed training may leave them.
    """
    for count in (1, BATCH + 1):
        found = kit.segment(kit.method(), slice(count))
        if found.masks is not None:
            demand(bool(found.masks.isfinite().all()), "masks are not finite")
            near = bool((found.masks.float().sum(1) - 1).abs().max() < 1e-3)
            demand(near or not found.partition, "masks do not sum to one although partition is True")
        for name in ("reconstruction", "components", "slots"):
            value = getattr(found, name)
            demand(value is None or bool(value.isfinite().all()), f"{name}: not finite")
        for name in ("reconstruction", "components"):
            _demand_near(name, getattr(found, name), "image units, [0,1]")
        _demand_near("boxes", found.extras.get("boxes"), "fractions of the image")


def _demand_near(name: str, values: Tensor | None, unit: str) -> None:
    """Demand that values lie no farther from [0,1] than those of a method in the right unit, before any training."""
    if values is None or not values.numel():
        return
    low, high = (float(extreme) for extreme in values.aminmax())
    demand(low >= -FAR and high <= FAR, f"{name} from {low:.4g} to {high:.4g}: expected {unit}")


def check_scores(kit: Kit) -> None:
    """Every reading of an output can be scored, and every batch gives the same ones."""
    kit.evaluate(kit.method(), IMAGES, batch_size=IMAGES - BATCH)


def check_batch_size_does_not_matter(kit: Kit) -> None:
    """An image is segmented the same alone and in a batch."""
    method = kit.method()
    whole = kit.segment(method, slice(IMAGES))
    parts = [kit.segment(method, slice(i, i + 1)) for i in range(IMAGES)]
    demand_equal(whole, parts, "segment depends on the batch: draw random numbers with self.normal")


def check_segment_changes_nothing(kit: Kit) -> None:
    """`segment` changes no weights and leaves no gradients."""
    method = kit.method()
    names = StateNames(method)
    before = {name: _copy(value) for name, value in method.state_dict().items()}
    kit.segment(method)
    names.check()
    changed = [
        name
        for name, value in method.state_dict().items()
        if not is_lazy(before[name]) and not same(value, before[name])
    ]
    demand(not changed, f"segment changes the state of the method: {', '.join(changed)}")
    left = [name for name, parameter in method.named_parameters() if parameter.grad is not None]
    demand(not left, f"segment leaves gradients behind in {first_few(left)}")


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
        raise ContractError(
            f"any_slots is True, but its state depends on the slots: {brief(error)}"
        ) from None
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
    return value.clone() if isinstance(value, Tensor) and not is_lazy(value) else value
