"""How near a reconstruction is to the image: squared error in two conventions, PSNR, SSIM; images in [0,1]."""

from __future__ import annotations

import torch
from torch import Tensor

from objbench.metrics.batch import Comparison, Metric


@Metric
def mse(batch: Comparison) -> Tensor | None:
    """Squared error of the reconstruction, mean over pixels and channels, images in [0,1]."""
    total = _squared_error(batch)
    return None if total is None or batch.images is None else total / batch.images[0].numel()


@Metric
def mse_sum(batch: Comparison) -> Tensor | None:
    """Squared error of the reconstruction, summed over pixels and channels (ClevrTex's `MSE`), images in [0,1]."""
    return _squared_error(batch)


def _squared_error(batch: Comparison) -> Tensor | None:
    if batch.reconstruction is None or batch.images is None:
        return None
    return _summed((batch.reconstruction - _doubled(batch.images)).square())


def _summed(values: Tensor) -> Tensor:
    """The sum of each image of (B,C,H,W), row by row and then over rows.

    torch would split one sum over a whole image among threads, and its last bit would depend on the batch size. It would
    also depend on the memory layout, hence contiguous.
    """
    return values.contiguous().sum(-1).flatten(1).sum(1)


@Metric
def psnr(batch: Comparison) -> Tensor | None:
    """Peak signal-to-noise ratio of the reconstruction in decibel: -10 log10 of the mean squared error, images in [0,1].

    From 0 dB (as far off as values in [0,1] can be; less for a reconstruction outside of [0,1], which is not clamped) to
    infinity for an exact one.
    """
    total = _squared_error(batch)
    return None if total is None or batch.images is None else -10 * (total / batch.images[0].numel()).log10()


_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


@Metric
def ssim(batch: Comparison) -> Tensor | None:
    """Structural similarity of the reconstruction and the image in [-1,1], 1 if they are equal. Wang et al. (2004).

    Gaussian window of 11x11 pixels with a standard deviation of 1.5, K1 = 0.01, K2 = 0.03, images in [0,1] (a range of 1),
    covariances of the population; mean over the pixels whose window lies within the image, and over channels. The
    reconstruction is not clamped. None, and no score, for images with a side below 11 pixels.
    """
    if batch.reconstruction is None or batch.images is None or min(batch.images.shape[2:]) < _WINDOW:
        return None
    x, y = _doubled(batch.images), batch.reconstruction.double()
    mean_x, mean_y = _smoothed(x), _smoothed(y)
    product = mean_x * mean_y
    squares = mean_x**2 + mean_y**2
    covariance = _smoothed(x * y) - product
    variances = _smoothed(x**2 + y**2) - squares
    similar = (2 * product + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))
    return _summed(similar) / similar[0].numel()


def _smoothed(images: Tensor) -> Tensor:
    """Gaussian means of (B,C,H,W) where the window fits: (B,C,H-10,W-10). Term by term, so that no batch changes a bit."""
    offsets = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    terms = list(enumerate((weights / weights.sum()).tolist()))
    height, width = (side - _WINDOW + 1 for side in images.shape[2:])
    rows = sum((weight * images[:, :, i : i + height] for i, weight in terms), torch.zeros(()))
    return sum((weight * rows[..., i : i + width] for i, weight in terms), torch.zeros(()))


def _doubled(images: Tensor) -> Tensor:
    """Images in [0,1] as float64."""
    return images.double() if images.is_floating_point() else images.double() / 255
