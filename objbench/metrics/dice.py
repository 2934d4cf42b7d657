"""The Dice coefficient of matched planes."""

from __future__ import annotations

import torch
from torch import Tensor

from objbench.metrics.batch import Comparison, Metric


@Metric
def dice(batch: Comparison) -> Tensor:
    """Summed Dice coefficient over the pairs of `miou`, 2 |A and B| / (|A| + |B|), over their number (`DICE`).

    The background counts as a plane. In [0,1]; like `miou` not invariant to the order of the predicted planes. The
    pairs are those of largest IoU, and Dice = 2 IoU / (1 + IoU). The ClevrTex evaluator gives other values, above 1,
    where the truth is handed to it as masks of 0 and 255 (Karazija et al. 2021).
    """
    return _dice(batch.matching.iou).sum(1) / batch.matching.pairs


@Metric
def dice_fg(batch: Comparison) -> Tensor:
    """`dice` over positions >= 1, divided by the number of pairs less one, as `miou_fg` (`DICE_FG`).

    NaN where there is one pair only; can exceed 1 for an image without a background pixel, as `miou_fg`.
    """
    others = batch.matching.pairs - 1
    return torch.where(others > 0, _dice(batch.matching.iou[:, 1:]).sum(1) / others, torch.nan)


def _dice(iou: Tensor) -> Tensor:
    return 2 * iou / (1 + iou)
