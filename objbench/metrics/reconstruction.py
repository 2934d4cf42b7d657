"""Squared error of the reconstruction, images in [0,1], in two conventions."""

from __future__ import annotations

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
    images = batch.images.double() if batch.images.is_floating_point() else batch.images.double() / 255
    # Row by row, then over rows: torch would split one sum over a whole image among threads, and its last bit would
    # depend on the batch size. It would also depend on the memory layout, hence contiguous.
    return (batch.reconstruction.detach() - images).contiguous().square().sum(-1).flatten(1).sum(1)
