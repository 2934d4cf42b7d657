"""Slots of a split, and what is needed to pair them with the objects: all that a probe reads of a method."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from objbench.data.read.scenes import Scenes
from objbench.data.scene import Array
from objbench.errors import RequestError
from objbench.methods.base import Method
from objbench.methods.parts.plane_moments import plane_moments
from objbench.metrics.contingency import contingency
from objbench.metrics.matching import iou_matrix
from objbench.progress import Advance, silent
from objbench.train.batches import unit_range
from objbench.train.evaluate import evaluating, segmented


@dataclass(frozen=True)
class Codes:
    """What a method says of N images with up to O objects in M slots.

    Attributes:
        slots: float32 (N,M,D).
        iou: float32 (N,M,O), of the segment of each slot (by the arg-max of the masks) and each object.
        visible: bool (N,O), whether there is such an object with a pixel. Column o is mask value o + 1.
        moments: float32 (N,M,9), colour and place of each segment, see `plane_moments`.
    """

    slots: Array
    iou: Array
    visible: Array
    moments: Array

    def __len__(self) -> int:
        return len(self.slots)

    def from_masks(self) -> Codes:
        """The same images with the moments of each segment in the place of its slot."""
        return replace(self, slots=self.moments)


def codes(
    method: Method, scenes: Scenes, seed: int, objects: int, batch_size: int, advance: Advance = silent
) -> Codes:
    """Segment `scenes` and keep slots, overlaps and moments, a batch at a time.

    Random draws depend on (seed, sample key) alone, as in `evaluate`.

    Args:
        method: The method, on the device of the scenes.
        scenes: N scenes.
        seed: Seed of the run.
        objects: O, at least the largest mask value of the scenes.
        batch_size: Number of images at a time.
        advance: Called with the number of images after each batch.

    Raises:
        RequestError: The method gives no slots.
    """
    parts: list[tuple[Tensor, ...]] = []
    with evaluating(method):
        for images, masks, _, found in segmented(method, scenes, seed, batch_size):
            if found.slots is None:
                raise RequestError(
                    f"{type(method).__name__} gives no slots (`Segmentation.slots`) to be probed"
                )
            slots, labels = found.slots, found.prediction.long()
            planes = slots.shape[1]
            table = contingency(labels, masks.long(), planes, objects + 1)
            parts.append(
                (
                    slots.flatten(2).float().cpu(),
                    iou_matrix(table)[:, :, 1:].float().cpu(),
                    (table.sum(1)[:, 1:] > 0).cpu(),
                    plane_moments(unit_range(images), labels, planes).cpu(),
                )
            )
            advance(len(images))
    return Codes(*(torch.cat(values).numpy() for values in zip(*parts, strict=True)))


def most_objects(scenes: Scenes) -> int:
    """The number of objects that a scene can have: the rows of the factors without the background."""
    entities = [values.shape[1] for values in scenes.factors.values() if values.ndim > 1]
    return max(max(entities, default=1) - 1, int(scenes.masks.max()))


def pairs_by_overlap(found: Codes) -> Array:
    """For each object its slot, int64 (N,O): one to one, so that the sum of IoU is largest; -1 without overlap.

    An object that no slot is paired with, or only one whose segment shares no pixel with it, is missed: -1.
    """
    return assigned(-found.iou.astype(np.float64), found.visible, found.iou > 0)


def assigned(cost: Array, visible: Array, allowed: Array | None = None) -> Array:
    """For each visible object the slot of the assignment of least cost (N,M,O): int64 (N,O), -1 where it gets none."""
    from scipy.optimize import linear_sum_assignment

    chosen = np.full(visible.shape, -1)
    for row, (costs, there) in enumerate(zip(cost, visible, strict=True)):
        objects = np.flatnonzero(there)
        slots, which = linear_sum_assignment(costs[:, objects])
        chosen[row, objects[which]] = slots
        if allowed is not None:
            kept = allowed[row, slots, objects[which]]
            chosen[row, objects[which][~kept]] = -1
    return chosen
