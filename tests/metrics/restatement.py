"""The ClevrTex evaluator and scikit-learn's ARI restated for one image, slowly and plainly."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score


def restate(pred: np.ndarray, true: np.ndarray, planes: int = 1, batch_max: int = 0) -> dict[str, float]:
    """Every metric of label maps (H,W): `planes` slots, other images of the batch with labels up to `batch_max`."""
    K = max(planes, batch_max + 1, int(true.max()) + 1, int(pred.max()) + 1)
    pred_planes = [pred == k for k in range(K)]
    true_planes = [true == k for k in range(K)]
    iou = np.zeros((K, K))
    for t in np.unique(true):
        for p in np.unique(pred):
            union = (true_planes[t] | pred_planes[p]).sum()
            iou[t, p] = (true_planes[t] & pred_planes[p]).sum() / union
    _, matched = linear_sum_assignment(iou.astype(np.float32), maximize=True)
    ious = [iou[t, matched[t]] for t in range(K)]
    present = [bool(true_planes[t].any()) for t in range(K)]
    pairs = sum(present[t] or bool(pred_planes[matched[t]].any()) for t in range(K))
    foreground = true > 0
    return {
        "ari": adjusted_rand_score(true.ravel(), pred.ravel()),
        "ari_fg": adjusted_rand_score(true[foreground], pred[foreground]) if foreground.any() else 1.0,
        "miou": sum(ious) / pairs,
        "miou_fg": sum(ious[1:]) / (pairs - 1) if pairs > 1 else math.nan,
        "miou_gt": sum(ious) / sum(present),
        "count_accuracy": float(sum(present) == sum(bool(plane.any()) for plane in pred_planes)),
    }
