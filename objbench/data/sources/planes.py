"""From the entity masks of a release to label maps. Imported by the encoding workers."""

from __future__ import annotations

import numpy as np

from objbench.data.scene import Array
from objbench.errors import first_few


class SceneError(Exception):
    """What is wrong with the scene in row `row` of a batch."""

    def __init__(self, row: int, what: str) -> None:
        super().__init__(what)
        self.row = row


def label_map(planes: Array, values: tuple[int, ...]) -> Array:
    """Label maps uint8 (N,H,W) from entity masks uint8 (N,E,H,W): the entity that each pixel lies in.

    Args:
        planes: The masks.
        values: The values that may mean "inside".

    Raises:
        SceneError: A scene's planes hold anything but 0 and one of `values`, or a pixel does not lie in exactly one
            entity.
    """
    inside = planes.max(axis=(1, 2, 3))
    exact = np.isin(inside, values)
    labels, covered = (np.zeros((len(planes), *planes.shape[2:]), np.uint8) for _ in range(2))
    for entity in range(
        planes.shape[1]
    ):  # entity by entity: several times faster than an arg-max over an axis
        plane = planes[:, entity]
        here = plane != 0
        exact &= ((plane == inside[:, None, None]) == here).all(axis=(1, 2))
        covered += here
        labels += np.multiply(here, entity, dtype=np.uint8)
    if not exact.all():
        row = int(np.argmin(exact))
        expected = " or ".join(f"0 and {value}" for value in values)
        raise SceneError(
            row,
            f"its masks hold {first_few([str(value) for value in np.unique(planes[row])])}, expected {expected}",
        )
    if not (covered == 1).all():
        row = int(np.argmax((covered != 1).any(axis=(1, 2))))
        y, x = np.argwhere(covered[row] != 1)[0]
        raise SceneError(
            row,
            f"the pixel in row {y}, column {x} lies in {covered[row, y, x]} entity masks, expected exactly 1",
        )
    return labels
