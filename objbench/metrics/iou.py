"""Mean intersection over union of matched planes, in the three forms of the ClevrTex evaluator.

Predicted planes are matched to true ones, background included, so that the summed IoU is largest (see
`objbench.metrics.matching.hungarian`). Source: CLEVRTEX_Evaluator of Karazija et al. (2021).
"""

from __future__ import annotations

import torch
from torch import Tensor

from objbench.metrics.batch import Comparison, Metric


@Metric
def miou(batch: Comparison) -> Tensor:
    """Summed IoU over the number of positions where the true plane or the one matched with it is present.

    The background counts as a plane. In [0,1]. A surplus plane of even one pixel adds a 0 to the mean, unless an
    object without a partner absorbs it; which of the two happens depends on the order of the predicted planes, so
    this is not invariant to it. `miou_gt` is.
    """
    return batch.matching.iou.sum(1) / batch.matching.pairs


@Metric
def miou_fg(batch: Comparison) -> Tensor:
    """Summed IoU over positions >= 1, divided by the number of pairs (as in `miou`) less one, for the background.

    NaN where there is one pair only (nothing but background, in one plane): undefined for that image. The evaluator
    subtracts one even if position 0 has no pair, so an image without a background pixel can exceed 1.
    """
    others = batch.matching.pairs - 1
    return torch.where(others > 0, batch.matching.iou[:, 1:].sum(1) / others, torch.nan)


@Metric
def miou_gt(batch: Comparison) -> Tensor:
    """Summed IoU over the number of true planes present, background included. In [0,1]; surplus planes cost nothing."""
    return batch.matching.iou.sum(1) / batch.matching.true_present.sum(1)
