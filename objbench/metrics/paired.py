"""Two methods on the same images: the difference of their means, with an interval over images and seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from objbench.scores import LEVEL

Values = NDArray[np.float64]
_TIE = 1e-12  # scores that differ by less are equal up to rounding


@dataclass(frozen=True)
class Paired:
    """How two methods, first and second, score on the images for which the metric is defined for both.

    Attributes:
        means: Of first and of second, over seeds, of the means over images.
        difference: First minus second.
        interval: (low, high) of the difference, 95 %; None for a single image, which shows no spread.
        ahead: The share of the images on which first has the higher mean over its seeds, and the share on which second
            has; the rest are ties.
        n_images: The number of images that all of this is taken over.
    """

    means: tuple[float, float]
    difference: float
    interval: tuple[float, float] | None
    ahead: tuple[float, float]
    n_images: int


def paired(first: Values, second: Values, together: bool = False) -> Paired:
    """Compare two methods by one metric.

    The estimand is the difference of two expectations, first minus second: of the score of a newly trained seed on a
    newly drawn image. The estimate is the difference of the means over seeds of the means over images. Its standard
    error is that of a two-level bootstrap. N-1 of the N images are drawn with replacement, the same ones for both
    methods, which pairs them. S-1 of the S seeds of each method are drawn with replacement, independently for the two
    methods, since equal seed numbers share nothing; one draw less than there are images or seeds makes the variance
    unbiased (Rao and Wu 1988). Nothing has to be drawn: the variance over all such draws is a sum of mean squares.

    The interval is difference ± t * error. t is the quantile of Student's distribution with the degrees of freedom of
    Satterthwaite (1946), from the variances between the seeds of first, between those of second, and over images: with
    three or five seeds the percentiles of a bootstrap are much too narrow (Hesterberg 2015). A single seed shows no
    spread: the interval then holds for that seed, not for the method. If this way of drawing images and seeds errs, the
    interval is too wide (Owen 2007).

    Args:
        first: float64 (S1,N), the value of each seed on each image. An image for which any seed of first or second has
            NaN (the metric is undefined) is left out for both, so that all means are over the same images.
        second: float64 (S2,N), on the same images in the same order.
        together: Whether row s of both is of the same training, as where two readings of the same masks are compared. Seeds
            are then drawn for both together, and the spread between seeds is that of their differences.

    Raises:
        ValueError: There is no image for which the metric is defined for both.
    """
    defined = defined_for_both(first, second)
    if not defined.any():
        raise ValueError("no image for which the metric is defined for both methods")
    values = (first[:, defined], second[:, defined])
    per_seed = tuple(method.mean(axis=1) for method in values)
    means = tuple(float(seeds.mean()) for seeds in per_seed)
    difference = means[0] - means[1]
    gap = values[0].mean(axis=0) - values[1].mean(axis=0)  # (N,)
    interval = _interval(difference, gap, (values[0] - values[1],) if together else values)
    ahead = (float((gap > _TIE).mean()), float((gap < -_TIE).mean()))
    return Paired((means[0], means[1]), difference, interval, ahead, len(gap))


def defined_for_both(first: Values, second: Values) -> NDArray[np.bool_]:
    """The images for which every seed of both methods has a value: bool (N,)."""
    undefined: NDArray[np.bool_] = np.isnan(np.concatenate([first, second])).any(axis=0)
    return ~undefined


def _interval(difference: float, gap: Values, scattered: tuple[Values, ...]) -> tuple[float, float] | None:
    """Around `difference`, from the methods' gap on each image (N,) and the methods whose seeds scatter, each (S,N)."""
    n_images = len(gap)
    if n_images == 1:
        return None
    variance = float(gap.var(ddof=1)) / n_images + sum(map(_of_drawn_seeds, scattered))
    half = _quantile(tuple(method.mean(axis=1) for method in scattered), variance, n_images) * variance**0.5
    if half < _TIE:
        return difference, difference
    return difference - half, difference + half


def _of_drawn_seeds(method: Values) -> float:
    """The variance that a draw of seeds adds to the mean of images drawn from (S,N); 0 of one seed.

    It is that of the means of the S seeds, and of how much further apart seeds are on the images of a draw.
    """
    S, n_images = method.shape
    if S == 1:
        return 0.0
    of_seeds = method - method.mean(axis=0)  # (S,N)
    means = of_seeds.mean(axis=1, keepdims=True)  # (S,1)
    of_images = ((of_seeds - means) ** 2).sum() / (n_images * (n_images - 1))
    between: float = ((means**2).sum() + of_images) / (S * (S - 1))
    return between


def _quantile(per_seed: tuple[Values, ...], variance: float, n_images: int) -> float:
    """Student's t for the degrees of freedom of `variance`, the sum of the variances of three levels."""
    parts = [(float(seeds.var(ddof=1)) / len(seeds), len(seeds)) for seeds in per_seed if len(seeds) > 1]
    over_images = max(0.0, variance - sum(part for part, _ in parts))
    parts.append((over_images, n_images))
    spread = sum(part**2 / (n - 1) for part, n in parts)
    if spread == 0:
        return 0.0
    total = sum(part for part, _ in parts)
    return float(student.ppf((1 + LEVEL) / 2, total**2 / spread))
