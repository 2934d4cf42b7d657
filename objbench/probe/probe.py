"""Fit a probe on the slots of training scenes, and score it on those of test scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from objbench.data.scene import Array
from objbench.errors import ObjbenchError
from objbench.probe.codes import Codes, assigned, pairs_by_overlap
from objbench.probe.dci import Dci, dci, importances
from objbench.probe.estimators import Fitted, fit, varies
from objbench.probe.scoring import FactorScores, scores
from objbench.probe.targets import Target
from objbench.scores import Matching, ProbeName

_ROUNDS = 10  # of fitting and pairing by loss
_FEWEST = 2  # paired training objects


class Split(NamedTuple):
    """The slots of the scenes of a split, and the factors of their objects."""

    codes: Codes
    targets: Sequence[Target]


@dataclass(frozen=True)
class Probe:
    """Fitted probes of all factors.

    Attributes:
        kind: Which probe.
        matching: How slots are paired with objects.
        fitted: Factor -> its probe.
        constant: The factors that do not vary among the training objects.
    """

    kind: ProbeName
    matching: Matching
    fitted: Mapping[str, Fitted]
    constant: tuple[str, ...]

    def pairs(self, split: Split) -> Array:
        """For each object its slot: int64 (N,O), -1 if it is missed or there is no such object.

        By "loss": one to one, so that the summed loss of all factors is least (with the true factors, as the field does
        it, so that scores are on the bright side); then an object is missed only where there are more objects than slots.
        """
        if self.matching == "masks":
            return pairs_by_overlap(split.codes)
        return assigned(_costs(self.fitted, split), split.codes.visible)

    def score(self, split: Split) -> ProbeResult:
        """The scores of all factors on the visible objects of a split.

        Missed objects count: the most frequent class, or the mean, of the training objects is predicted for them.
        """
        paired, codes = self.pairs(split), split.codes
        images, objects = codes.visible.nonzero()
        slots = paired[images, objects]
        there = slots >= 0
        inputs = codes.slots[images[there], slots[there]]
        found, usual = [], []
        for target in self._fitted_of(split):
            fitted, true = self.fitted[target.name], target.of(images, objects)
            majority = np.broadcast_to(np.asarray(fitted.usual), true.shape)
            predicted = np.array(majority, dtype=object if target.kind == "categorical" else np.float64)
            if there.any():
                predicted[there] = fitted.predict(inputs)
            found.append((target, predicted, true))
            usual.append((target, majority, true))
        return ProbeResult(
            paired,
            scores(found, images, len(codes)),
            scores(usual, images, len(codes)),
            len(images),
            1 - float(there.mean()) if len(there) else 0.0,
        )

    def dci(self, split: Split, paired: Array, seed: int) -> Dci:
        """Disentanglement and completeness of the slots of a split, by what they say to this probe.

        Args:
            split: The split.
            paired: Its `pairs`.
            seed: Of the permutations that importances are estimated by.
        """
        images, objects = (paired >= 0).nonzero()
        inputs = split.codes.slots[images, paired[images, objects]]
        columns = [
            importances(self.fitted[target.name], inputs, target.of(images, objects), seed)
            for target in self._fitted_of(split)
        ]
        return dci(np.stack(columns, 1)) if columns and len(inputs) else Dci(float("nan"), float("nan"))

    def _fitted_of(self, split: Split) -> list[Target]:
        """The factors of a split that there is a probe of."""
        return [target for target in split.targets if target.name in self.fitted]


class ProbeResult(NamedTuple):
    """Scores on one split.

    Attributes:
        pairs: For each object its slot, as `Probe.pairs` gives it.
        probe: The scores of the probe.
        majority: Those of the most frequent class or the mean of the training objects.
        n_objects: Visible objects.
        missed: The share of them without a slot.
    """

    pairs: Array
    probe: FactorScores
    majority: FactorScores
    n_objects: int
    missed: float


def train(kind: ProbeName, matching: Matching, split: Split, seed: int) -> Probe:
    """Fit probes of all factors on a split.

    Matching by "loss" begins with the pairs of largest overlap, and then takes turns: fit the probes to the pairs, pair
    each object with the slot of least loss, until no pair changes, at most ten times. Either turn lowers the summed
    loss, which the field minimises by gradient steps on newly paired batches (Locatello et al. 2020, Dittadi et al. 2022).

    Args:
        kind: Which probe.
        matching: How slots are paired with objects: "masks" by the largest sum of IoU, or "loss".
        split: Training scenes.
        seed: Of the random draws of the probes.

    Raises:
        ObjbenchError: No objects, or no factor varies.
    """
    paired = pairs_by_overlap(split.codes)
    fitted = _fit(kind, split, paired, seed)
    for _ in range(_ROUNDS if matching == "loss" else 0):
        again = assigned(_costs(fitted, split), split.codes.visible)
        if (again == paired).all():
            break
        paired, fitted = again, _fit(kind, split, again, seed)
    constant = tuple(target.name for target in split.targets if target.name not in fitted)
    return Probe(kind, matching, fitted, constant)


def _fit(kind: ProbeName, split: Split, paired: Array, seed: int) -> dict[str, Fitted]:
    images, objects = (paired >= 0).nonzero()
    if len(images) < _FEWEST:
        raise ObjbenchError(
            f"{len(images)} objects of {len(paired)} training scenes have a slot that overlaps with them: nothing to learn from"
        )
    inputs = split.codes.slots[images, paired[images, objects]]
    values = {target.name: target.of(images, objects) for target in split.targets}
    fitted = {
        target.name: fit(kind, target, inputs, values[target.name], seed)
        for target in split.targets
        if varies(values[target.name])
    }
    if not fitted:
        raise ObjbenchError(
            f"{', '.join(values)}: the same for all {len(images)} training objects, nothing to predict"
        )
    return fitted


def _costs(fitted: Mapping[str, Fitted], split: Split) -> Array:
    """The loss of each slot for each object, summed over factors: float64 (N,M,O)."""
    N, M, D = split.codes.slots.shape
    inputs, shape = split.codes.slots.reshape(N * M, D), (N, M, split.codes.visible.shape[1])
    rows = np.broadcast_to(np.arange(N * M).reshape(N, M, 1), shape)
    total = np.zeros(shape)
    for target in split.targets:
        if target.name in fitted:
            true = np.broadcast_to(target.values[:, None], (N, M, *target.values.shape[1:]))
            total += fitted[target.name].losses(inputs).of(rows, true)
    return total
