"""The uncertainty of a mean over test images: a bootstrap confidence interval."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from objbench.scores import LEVEL

RESAMPLES = 2000
_SEED = 0
_DRAWS = 2**22  # images drawn at once, which bounds the memory


def bootstrap(
    per_image: Mapping[str, NDArray[np.float64]], resamples: int = RESAMPLES
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of the mean of each metric: metric -> (low, high). Efron (1979).

    N images are drawn with replacement, the same ones for every metric, from a fixed seed: the same values give the
    same interval. It covers the choice of test images, not the seeds of a training. Metrics that are defined for fewer
    than two images, or infinite for one, are left out. The result agrees with scipy.stats.bootstrap up to the noise of
    its resamples.

    Args:
        per_image: Metric -> values float64 (N,), of the same images in the same order; NaN where it is undefined,
            which is left out of the mean of every resample as of the mean itself.
        resamples: How many samples of N images are drawn.
    """
    values = {
        name: column
        for name, column in per_image.items()
        if np.count_nonzero(~np.isnan(column)) > 1 and not np.isinf(column).any()
    }
    if not values:
        return {}
    table = np.stack(list(values.values()), axis=1)  # (N,M)
    defined = ~np.isnan(table)
    columns = np.concatenate([np.where(defined, table, 0), defined], axis=1)
    sums = resampled_sums(columns, resamples)
    total, count = np.split(sums, 2, axis=1)
    with np.errstate(invalid="ignore"):  # a resample may contain no image for which the metric is defined
        means = total / count
    return {name: percentile_interval(column) for name, column in zip(values, means.T, strict=True)}


def percentile_interval(resampled: NDArray[np.float64]) -> tuple[float, float]:
    """The bounds (low, high) of the middle 95 % of resampled values (R,), NaN left out."""
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def resampled_sums(columns: NDArray[np.float64], resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Sums of `columns` (N,C) over R resamples of N rows with replacement, always the same ones: (R,C)."""
    N = len(columns)
    random = np.random.Generator(np.random.Philox(_SEED))
    at_once = max(1, _DRAWS // N)
    parts = []
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn = random.integers(0, N, (size, N), dtype=np.int32)
        cells = drawn + np.arange(0, size * N, N, dtype=np.int64)[:, None]
        times = np.bincount(cells.ravel(), minlength=size * N).reshape(size, N)
        parts.append(times.astype(np.float64) @ columns)
    return np.concatenate(parts)
