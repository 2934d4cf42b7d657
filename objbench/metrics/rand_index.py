"""The adjusted Rand index: agreement of two partitions on pairs of pixels, corrected for chance."""

from __future__ import annotations

import torch
from torch import Tensor

from objbench.metrics.batch import Comparison, Metric


def adjusted_rand(table: Tensor) -> Tensor:
    """Adjusted Rand index of the two partitions of a contingency table: int64 (B,P,T) -> float64 (B,).

    With n pixels and counts n_pt, over ordered pairs of pixels: together in both, S = sum n_pt^2 - n; apart in the
    prediction only, A; apart in the truth only, B; apart in both, D:

        ARI = 2 (S D - A B) / ((S + A)(A + D) + (S + B)(B + D))

    1 if A = B = 0 (no pixel, or both partitions constant); 0 if only one of them is constant. At least -0.5. Equal to
    scikit-learn's adjusted_rand_score (Hubert & Arabie 1985). Pairs are counted in int64, which is exact up to 3e9
    pixels; their products exceed 2^63 from about 55,000 pixels on and are computed in float64.
    """
    n = table.sum((1, 2))
    squares = table.square().sum((1, 2))
    apart_in_pred = table.sum(1).square().sum(1) - squares
    apart_in_true = table.sum(2).square().sum(1) - squares
    S, A, B, D = (
        pairs.double()
        for pairs in (
            squares - n,
            apart_in_pred,
            apart_in_true,
            n.square() - squares - apart_in_pred - apart_in_true,
        )
    )
    chance_corrected = 2 * (S * D - A * B) / ((S + A) * (A + D) + (S + B) * (B + D))
    return torch.where((A == 0) & (B == 0), 1.0, chance_corrected)


@Metric
def ari(batch: Comparison) -> Tensor:
    """Adjusted Rand index over all pixels; the background is a plane like any other."""
    return adjusted_rand(batch.table)


@Metric
def ari_fg(batch: Comparison) -> Tensor:
    """Adjusted Rand index over the pixels whose true label is > 0, whatever is predicted there.

    1 for an image without foreground. It ignores errors in the background, and is coarse for a single object: 1 if the
    prediction is constant on it, else 0.
    """
    return adjusted_rand(batch.table[:, :, 1:])
