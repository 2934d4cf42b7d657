"""Intersection over union of all pairs of planes, and the assignment that maximises its sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Matching:
    """Every position 0..K-1 of the true planes with the predicted plane assigned to it, each (B,K).

    pred          int64, the predicted plane
    iou           float64, of the pair; 0 where either is empty
    true_present  bool, whether the true plane has a pixel
    pred_present  bool, whether the predicted plane assigned to it has one
    """

    pred: Tensor
    iou: Tensor
    true_present: Tensor
    pred_present: Tensor

    @property
    def pairs(self) -> Tensor:
        """The number of positions with either plane present (the evaluator's num_pairs), int64 (B,)."""
        return (self.true_present | self.pred_present).sum(1)


def iou_matrix(table: Tensor) -> Tensor:
    """Intersection over union of predicted plane p and true plane t, 0 where either is empty.

    table int64 (B,P,T), as of `contingency` -> float64 (B,P,T)
    """
    union = table.sum(2, keepdim=True) + table.sum(1, keepdim=True) - table
    return table.double() / union.clamp(min=1)


def hungarian(iou: Tensor) -> Tensor:
    """For each true position 0..K-1 the predicted plane assigned to it: int64 (B,K), K = max(P,T).

    The sum of `iou` float64 (B,P,T) is maximised by scipy's linear_sum_assignment, with the true planes as rows
    in label order and the predicted planes as columns in theirs, padded with zeros to a square, and the IoU rounded
    to float32: as in the ClevrTex evaluator, so that every tie (between planes without overlap above all) falls as
    it does there.

    Each image is padded to its own last occupied plane only, and what lies behind stays where it is. So neither
    further empty planes nor the other images of a batch can change an assignment. The solver agrees: every cost is
    <= 0, so to a row the unused columns of the smaller square are never dearer than an added column of zeros, and
    at equal cost it takes the lowest unused one; the added row is then left with the added column.
    """
    B, P, T = iou.shape
    K = max(P, T)
    square = np.zeros((B, K, K), np.float32)
    square[:, :T, :P] = iou.transpose(1, 2).cpu().numpy()
    occupied: NDArray[np.bool_] = np.logical_or(square.any(1), square.any(2))
    sizes = K - occupied[:, ::-1].argmax(1)
    matched = np.tile(np.arange(K), (B, 1))
    for costs, columns, size in zip(-square, matched, sizes.tolist(), strict=True):
        columns[:size] = linear_sum_assignment(costs[:size, :size])[1]
    return torch.from_numpy(matched).to(iou.device)


def match(table: Tensor, iou: Tensor | None = None) -> Matching:
    """The planes of a contingency table int64 (B,P,T), paired by `hungarian` on `iou`, its `iou_matrix`."""
    _, P, T = table.shape
    K = max(P, T)
    iou = iou_matrix(table) if iou is None else iou
    matched = hungarian(iou)
    table, iou = (pad(planes, (0, K - T, 0, K - P)) for planes in (table, iou))
    return Matching(
        pred=matched,
        iou=iou.gather(1, matched[:, None, :])[:, 0],
        true_present=table.sum(1) > 0,
        pred_present=(table.sum(2) > 0).gather(1, matched),
    )
