"""The factors that a probe predicts, of each object: codes by their name, numbers by their value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from objbench.data.read.scenes import Scenes
from objbench.data.scene import Array
from objbench.errors import RequestError, unknown_name
from objbench.spec.datasets import FactorKind

NO_TARGETS = ("visibility",)  # says whether there is an object, and is 1 for all that are


@dataclass(frozen=True)
class Target:
    """A factor of all objects of a split.

    Attributes:
        name: Of the factor.
        kind: "categorical" is scored by accuracy, "numeric" by R2.
        values: (N,O): strings or numbers if categorical; float64 (N,O,C) if numeric, C components.
    """

    name: str
    kind: FactorKind
    values: Array

    def of(self, images: Array, objects: Array) -> Array:
        """The values of these objects: (P,) or (P,C)."""
        chosen: Array = self.values[images, objects]
        return chosen


def targets(scenes: Scenes, objects: int, names: Sequence[str] | None = None) -> list[Target]:
    """The factors of the objects of `scenes`.

    Args:
        scenes: N scenes.
        objects: O; column o of the values belongs to mask value o + 1.
        names: Which factors; by default those of `probe` in the dataset's block of benchmarks.yaml, and if it has none,
            all factors of objects.

    Raises:
        RequestError: The scenes have no factors of objects, or none of such a name.
    """
    declared = scenes.spec.spec.probe
    there = {
        name: values for name, values in scenes.factors.items() if values.ndim > 1 and name not in NO_TARGETS
    }
    if not there:
        raise RequestError(
            f"{scenes.spec} has no factors of objects, so there is nothing to predict from slots"
        )
    for name in names or ():
        if name not in there:
            raise unknown_name(f"factor of {scenes.spec}", name, there)
    chosen = names or [name for name in declared if name in there] or list(there)
    return [_target(name, declared.get(name), there[name], objects) for name in chosen]


def _target(name: str, kind: FactorKind | None, values: Array, objects: int) -> Target:
    kind = kind or ("categorical" if values.dtype.kind in "UOb" else "numeric")
    values = values[:, 1 : objects + 1]
    if values.shape[1] < objects:
        missing = objects - values.shape[1]
        values = np.pad(values, [(0, 0), (0, missing), *[(0, 0)] * (values.ndim - 2)])
    if kind == "categorical":
        return Target(name, kind, values)
    return Target(name, kind, values.reshape(*values.shape[:2], -1).astype(np.float64))
