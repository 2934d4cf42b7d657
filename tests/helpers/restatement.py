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
    largest = iou.max(1)  # of every true plane
    objects = [t for t in range(1, K) if present[t]]
    size = np.array([plane.sum() for plane in true_planes])
    dices = [2 * value / (1 + value) for value in ious]
    return {
        "ari": adjusted_rand_score(true.ravel(), pred.ravel()),
        "ari_fg": adjusted_rand_score(true[foreground], pred[foreground]) if foreground.any() else 1.0,
        "miou": sum(ious) / pairs,
        "miou_fg": sum(ious[1:]) / (pairs - 1) if pairs > 1 else math.nan,
        "miou_gt": sum(ious) / sum(present),
        "dice": sum(dices) / pairs,
        "dice_fg": sum(dices[1:]) / (pairs - 1) if pairs > 1 else math.nan,
        "mbo": sum(largest[t] for t in objects) / len(objects) if objects else math.nan,
        "msc": (size * largest).sum() / size.sum(),
        "msc_clevrtex": covering_of_clevrtex(pred, true, matched),
        "count_accuracy": float(sum(present) == sum(bool(plane.any()) for plane in pred_planes)),
    }


def covering_of_clevrtex(pred: np.ndarray, true: np.ndarray, matched: np.ndarray) -> float:
    """Its mSC: both loops end before the highest label, after the predicted planes took the numbers of the true."""
    renumbered = np.argsort(matched)[pred]
    covered = pixels = 0.0
    for t in range(int(true.max())):
        plane = true == t
        best = 0.0
        for p in range(int(renumbered.max())):
            other = renumbered == p
            if plane.any() and other.any():
                best = max(best, (plane & other).sum() / (plane | other).sum())
        covered += best * plane.sum()
        pixels += plane.sum()
    return covered / pixels if pixels else math.nan
