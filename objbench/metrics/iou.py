"""Mean IoU and mean Dice coefficient of matched planes, as the ClevrTex evaluator computes them.

Predicted planes are matched to true ones, background included, so that the summed IoU is largest (see
`objbench.metrics.matching.hungarian`). Source: CLEVRTEX_Evaluator of Karazija et al. (2021).
"""

from __future__ import annotations

import torch
from torch import Tensor

from objbench.metrics.batch import Comparison, Metric


@Metric
def miou(batch: Comparison) -> Tensor:
    """Sum of IoU divided by the number of pairs in which the true or the predicted plane is present (`mIoU`).

    The background counts as a plane. In [0,1]. Depends on the order of the predicted planes: a surplus plane of even
    one pixel adds a pair with IoU 0, unless it is matched to an object that no other plane covers, and ties of the
    assignment decide which of the two happens. `miou_gt` does not depend on the order.
    """
    return batch.matching.iou.sum(1) / batch.matching.pairs


@Metric
def miou_fg(batch: Comparison) -> Tensor:
    """Sum of IoU over positions >= 1, divided by the number of pairs of `miou` minus one for the background (`mIoU_fg`).

    NaN if there is only one pair (nothing but background, in one plane). The evaluator subtracts one even if position
    0 has no pair, so the value of an image without a background pixel can exceed 1; it is at most 2.
    """
    return _per_other_pair(batch.matching.iou, batch.matching.pairs)


@Metric
def miou_gt(batch: Comparison) -> Tensor:
    """Sum of IoU divided by the number of true planes present, background included (`mIoU_gt`).

    In [0,1]. Surplus predicted planes cost nothing.
    """
    return batch.matching.iou.sum(1) / batch.matching.true_present.sum(1)


@Metric
def dice(batch: Comparison) -> Tensor:
    """Sum of Dice coefficients, 2 |A and B| / (|A| + |B|), over the pairs of `miou`, divided by their number (`DICE`).

    The background counts as a plane. In [0,1]. The pairs are those of largest IoU, so like `miou` it depends on the
    order of the predicted planes; Dice = 2 IoU / (1 + IoU). The ClevrTex evaluator gives other values, above 1, if it
    gets the truth as masks of 0 and 255.
    """
    return _dice(batch.matching.iou).sum(1) / batch.matching.pairs


@Metric
def dice_fg(batch: Comparison) -> Tensor:
    """`dice` over positions >= 1, divided by the number of pairs minus one, as `miou_fg` (`DICE_FG`).

    NaN if there is only one pair. The value of an image without a background pixel can exceed 1; it is at most 2.
    """
    return _per_other_pair(_dice(batch.matching.iou), batch.matching.pairs)


def _dice(iou: Tensor) -> Tensor:
    return 2 * iou / (1 + iou)


def _per_other_pair(values: Tensor, pairs: Tensor) -> Tensor:
    """The sum of `values` (B,K) over positions >= 1 per pair, of which the background's is not counted: (B,)."""
    others = pairs - 1
    return torch.where(others > 0, values[:, 1:].sum(1) / others, torch.nan)
