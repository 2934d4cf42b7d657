"""How well each true plane is covered by the predicted plane that overlaps it most; planes are not matched one to one."""

from __future__ import annotations

import torch
from torch import Tensor

from objbench.metrics.batch import Comparison, Metric


@Metric
def mbo(batch: Comparison) -> Tensor:
    """Mean best overlap: the largest IoU of each true object with any predicted plane, averaged over the objects.

    The background is not an object, but a predicted plane that contains it may be the best one of an object. In [0,1];
    NaN without an object. Surplus planes that touch no object change nothing. mBO of Pont-Tuset et al. (2017); the
    unweighted MSC-FG of GENESIS-V2 (Engelcke et al. 2021).
    """
    best = batch.iou[:, :, 1:].amax(1)
    objects = (batch.table[:, :, 1:].sum(1) > 0).sum(1)
    return torch.where(objects > 0, best.sum(1) / objects, torch.nan)


@Metric
def msc(batch: Comparison) -> Tensor:
    """Segmentation covering: the largest IoU of each true plane with any predicted one, weighted by its pixels.

    The background is a plane like any other. In [0,1]. ClevrTex's `mSC` without its defect (see `msc_clevrtex`); the
    covering of Arbelaez et al. (2011).
    """
    size = batch.table.sum(1)
    return (size * batch.iou.amax(1)).sum(1) / size.sum(1)


@Metric
def msc_clevrtex(batch: Comparison) -> Tensor:
    """`msc` as the ClevrTex evaluator computes it: without the highest label of each side.

    The evaluator first gives each predicted plane the number of the true plane that it is matched with, as in `miou`.
    Both of its loops then stop one label early: the last object of an image is neither covered nor counted, and the
    last predicted plane covers nothing. So the value depends on the order of planes. NaN if nothing is left to cover,
    as in an image without an object; the evaluator stops there with an error. In a batch of one image the evaluator
    reads the top row of pixels only; this function gives its value in larger batches.
    """
    matching, iou = batch.matching, batch.iou
    present = matching.true_present
    B, K = present.shape
    position = torch.arange(K, device=iou.device)
    last_true = torch.where(present, position, -1).amax(1, keepdim=True)
    last_pred = torch.where(matching.pred_present, position, -1).amax(1, keepdim=True)
    square = torch.nn.functional.pad(iou, (0, K - iou.shape[2], 0, K - iou.shape[1]))
    renumbered = square.gather(1, matching.pred[:, :, None].expand(B, K, K))
    best = torch.where((position < last_pred)[:, :, None], renumbered, 0).amax(1)
    table_size = torch.nn.functional.pad(batch.table.sum(1).double(), (0, K - iou.shape[2]))
    size = torch.where(position < last_true, table_size, 0)
    return (size * best).sum(1) / size.sum(1)
