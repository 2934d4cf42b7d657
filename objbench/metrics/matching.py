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
    """For every position 0..K-1 of the true planes the predicted plane assigned to it; tensors (B,K).

    Attributes:
        pred: int64, the predicted plane.
        iou: float64, the IoU of the pair; 0 if either plane is empty.
        true_present: bool, whether the true plane has a pixel.
        pred_present: bool, whether the predicted plane assigned to it has a pixel.
    """

    pred: Tensor
    iou: Tensor
    true_present: Tensor
    pred_present: Tensor

    @property
    def pairs(self) -> Tensor:
        """The number of positions where either plane is present (the evaluator's num_pairs), int64 (B,)."""
        return (self.true_present | self.pred_present).sum(1)


def iou_matrix(table: Tensor) -> Tensor:
    """Intersection over union of predicted plane p and true plane t, 0 if either is empty.

    Args:
        table: int64 (B,P,T), from `contingency`.

    Returns:
        float64 (B,P,T).
    """
    union = table.sum(2, keepdim=True) + table.sum(1, keepdim=True) - table
    return table.double() / union.clamp(min=1)


def hungarian(iou: Tensor) -> Tensor:
    """For each true position 0..K-1 the predicted plane assigned to it: int64 (B,K), K = max(P,T).

    scipy's linear_sum_assignment maximises the sum of `iou` float64 (B,P,T). True planes are rows and predicted planes
    are columns, both in label order, padded with zeros to a square; the IoU is rounded to float32. The ClevrTex
    evaluator does the same, so every tie (above all between planes without overlap) is broken as it is there.

    Each image is padded only to its own last occupied plane; the planes after it keep their positions. So neither
    further empty planes nor the other images of a batch change an assignment. The solver gives the same for a larger
    square: every cost is <= 0, so an unused column of the smaller square never costs more than an added column of
    zeros, and at equal cost the solver takes the lowest unused one; the added row then gets the added column.
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
    """Pair the planes of a contingency table int64 (B,P,T) by `hungarian`; `iou` is its `iou_matrix` if known."""
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
