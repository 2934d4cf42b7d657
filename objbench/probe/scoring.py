"""Scores of predicted factors with intervals over images: accuracy of classes, R2 of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from objbench.data.scene import Array
from objbench.metrics.bootstrap import percentile_interval, resampled_sums
from objbench.probe.targets import Target
from objbench.scores import Measure


@dataclass(frozen=True)
class Score:
    """A score and its 95 % bootstrap interval over images.

    Attributes:
        measure: "accuracy" in [0,1], or "r2" in (-inf,1].
        value: NaN if the true values of the test objects do not vary.
        interval: None where there are fewer than two images.
    """

    measure: Measure
    value: float
    interval: tuple[float, float] | None = None


class FactorScores(NamedTuple):
    """The scores of several factors.

    Attributes:
        factors: By the name of the factor.
        means: By measure: the means over the factors that are scored by it, where one of them varies.
    """

    factors: dict[str, Score]
    means: dict[str, Score]


def scores(found: Sequence[tuple[Target, Array, Array]], images: Array, count: int) -> FactorScores:
    """The score of each factor, and the means over the categorical and over the numeric ones.

    Accuracy is the share of objects whose class is right. R2 is 1 - sum (y - f)^2 / sum (y - mean y)^2 over objects,
    mean over components; a component that does not vary among the test objects is left out. Images are resampled whole.

    Args:
        found: For each factor its predictions and true values, both (P,) or (P,C).
        images: int64 (P,), which image each object is in.
        count: N, the number of images.
    """
    columns = [_columns(target, predicted, true) for target, predicted, true in found]
    widths = np.cumsum([0, *(len(part[0]) for part in columns)])
    per_image = np.zeros((count, widths[-1]))
    for part, start, end in zip(columns, widths[:-1], widths[1:], strict=True):
        np.add.at(per_image[:, start:end], images, part)
    whole = per_image.sum(0)[None]
    resampled = resampled_sums(per_image) if count > 1 else None
    factors: dict[str, Score] = {}
    varying: dict[Measure, list[tuple[float, Array | None]]] = {}
    for (target, _, _), start, end in zip(found, widths[:-1], widths[1:], strict=True):
        measure, value = measure_of(target), float(_value(target, whole[:, start:end])[0])
        drawn = None if resampled is None else _value(target, resampled[:, start:end])
        factors[target.name] = Score(measure, value, _interval(drawn))
        if not np.isnan(value):
            varying.setdefault(measure, []).append((value, drawn))
    means: dict[str, Score] = {
        measure: Score(measure, float(np.mean([value for value, _ in of_it])), _interval(_mean(of_it)))
        for measure, of_it in varying.items()
    }
    return FactorScores(factors, means)


def measure_of(target: Target) -> Measure:
    """How the factor is scored."""
    return "accuracy" if target.kind == "categorical" else "r2"


def _mean(chosen: Iterable[tuple[float, Array | None]]) -> Array | None:
    drawn = [values for _, values in chosen if values is not None]
    return np.mean(drawn, axis=0) if drawn else None


def _columns(target: Target, predicted: Array, true: Array) -> Array:
    """What of each object is summed: (P,2), or (P,4C)."""
    if target.kind == "categorical":
        return np.stack([np.ones(len(true)), predicted == true], 1).astype(np.float64)
    centred = true - true.mean(0)  # else the sums of squares lose digits
    return np.concatenate([np.ones_like(true), (true - predicted) ** 2, centred, centred**2], 1)


def _value(target: Target, sums: Array) -> Array:
    """The score of each row of sums: (R,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if target.kind == "categorical":
            return sums[:, 1] / sums[:, 0]
        n, error, total, square = np.split(sums, 4, axis=1)
        varied = square - total**2 / n
        each = np.where(varied > 1e-12 * square, 1 - error / varied, np.nan)
        known = (~np.isnan(each)).sum(1)
        return np.where(known > 0, np.nansum(each, 1) / known, np.nan)


def _interval(drawn: Array | None) -> tuple[float, float] | None:
    return None if drawn is None or np.isnan(drawn).all() else percentile_interval(drawn)
