"""What people use instead of `objbench.metrics.score`, written in the usual way."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.functional.clustering import adjusted_rand_score as torchmetrics_ari

Labels = NDArray[np.uint8]


def scikit_learn_loop(pred: Labels, true: Labels) -> dict[str, NDArray[np.float64]]:
    """Image by image: scikit-learn's ARI, a contingency table by bincount, scipy's assignment; (B,H,W) -> (B,).

    Every image needs an object and a background pixel. The IoU is rounded to float32 for the assignment, as in the
    ClevrTex evaluator, because that decides ties.
    """
    images = [_scikit_learn(p.ravel(), t.ravel()) for p, t in zip(pred, true, strict=True)]
    return {name: np.array([image[name] for image in images]) for name in images[0]}


def _scikit_learn(pred: Labels, true: Labels) -> dict[str, float]:
    foreground = true > 0
    K = int(max(pred.max(), true.max())) + 1
    table = np.bincount(pred.astype(np.int64) * K + true, minlength=K * K).reshape(K, K)
    in_pred, in_true = table.sum(1), table.sum(0)
    iou = table / np.maximum(in_pred[:, None] + in_true - table, 1)
    _, matched = linear_sum_assignment(iou.T.astype(np.float32), maximize=True)
    paired = iou[matched, np.arange(K)]
    pairs = ((in_true > 0) | (in_pred[matched] > 0)).sum()
    dice = 2 * paired / (1 + paired)
    best = iou.max(0)
    return {
        "ari": adjusted_rand_score(true, pred),
        "ari_fg": adjusted_rand_score(true[foreground], pred[foreground]),
        "miou": paired.sum() / pairs,
        "miou_fg": paired[1:].sum() / (pairs - 1),
        "miou_gt": paired.sum() / (in_true > 0).sum(),
        "dice": dice.sum() / pairs,
        "dice_fg": dice[1:].sum() / (pairs - 1),
        "mbo": best[1:].sum() / (in_true[1:] > 0).sum(),
        "msc": (in_true * best).sum() / in_true.sum(),
        "count_accuracy": float((in_pred > 0).sum() == (in_true > 0).sum()),
    }


def naive_torch(pred: Tensor, true: Tensor) -> dict[str, Tensor]:
    """ARI, ARI-FG and mIoU of a batch (B,H,W): one-hot planes, their products, then scipy image by image."""
    K = int(torch.maximum(pred.max(), true.max())) + 1
    pred_planes, true_planes = (one_hot(labels.flatten(1).long(), K).float() for labels in (pred, true))
    table = torch.einsum("bnp,bnt->bpt", pred_planes, true_planes).double()
    union = pred_planes.sum(1)[:, :, None] + true_planes.sum(1)[:, None, :] - table
    iou = table / union.clamp(min=1)
    return {"ari": _pair_counts(table), "ari_fg": _pair_counts(table[:, :, 1:]), "miou": _matched(table, iou)}


def _pair_counts(table: Tensor) -> Tensor:
    """The formula of Hubert and Arabie, on pairs of pixels."""
    together, in_pred, in_true, total = (
        (counts * (counts - 1) / 2).flatten(1).sum(1)
        for counts in (table, table.sum(2), table.sum(1), table.sum((1, 2))[:, None])
    )
    expected = in_pred * in_true / total
    return (together - expected) / ((in_pred + in_true) / 2 - expected)


def _matched(table: Tensor, iou: Tensor) -> Tensor:
    values = []
    for counts, costs in zip(table, iou, strict=True):
        rows, columns = linear_sum_assignment(costs.T.float().cpu().numpy(), maximize=True)
        present = (counts.sum(0)[rows] > 0) | (counts.sum(1)[columns] > 0)
        values.append(costs[columns, rows].sum() / present.sum())
    return torch.stack(values)


def torchmetrics_loop(pred: Tensor, true: Tensor) -> Tensor:
    """torchmetrics' ARI, the only one of these metrics that it has, image by image: (B,H,W) -> (B,)."""
    with torch.sparse.check_sparse_tensor_invariants(False):  # type: ignore[no-untyped-call]  # torch warns unless one has chosen
        return torch.stack(
            [torchmetrics_ari(p, t) for p, t in zip(pred.flatten(1), true.flatten(1), strict=True)]
        )
