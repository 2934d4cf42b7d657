"""Metrics: pure functions on batches of label maps, `score` to compute all of them, `Evaluator` to accumulate."""

from __future__ import annotations

from objbench.metrics.batch import Comparison, Metric, compare
from objbench.metrics.contingency import contingency
from objbench.metrics.counting import count_accuracy
from objbench.metrics.covering import mbo, msc, msc_clevrtex
from objbench.metrics.evaluator import Evaluator
from objbench.metrics.iou import dice, dice_fg, miou, miou_fg, miou_gt
from objbench.metrics.matching import Matching, hungarian, iou_matrix, match
from objbench.metrics.rand_index import adjusted_rand, ari, ari_fg
from objbench.metrics.reconstruction import mse, mse_sum, psnr, ssim
from objbench.metrics.scoring import score

__all__ = [
    "Comparison",
    "Evaluator",
    "Matching",
    "Metric",
    "adjusted_rand",
    "ari",
    "ari_fg",
    "compare",
    "contingency",
    "count_accuracy",
    "dice",
    "dice_fg",
    "hungarian",
    "iou_matrix",
    "match",
    "mbo",
    "miou",
    "miou_fg",
    "miou_gt",
    "msc",
    "msc_clevrtex",
    "mse",
    "mse_sum",
    "psnr",
    "score",
    "ssim",
]
