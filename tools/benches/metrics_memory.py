"""The memory of scoring, measured in a new process that imports nothing else."""

from __future__ import annotations

import torch

from benches.process import peak_growth
from benches.scenes import label_maps
from objbench.metrics import score

DISTINCT = 64  # images are made slowly, and what they show does not matter here


def growth_while_scoring(count: int, size: int, slots: int, threads: int) -> int:
    """Peak bytes while `count` label maps are scored at once, without the maps themselves."""
    torch.set_num_threads(threads)
    some = label_maps(min(DISTINCT, count), size, slots)
    pred, true = (labels.repeat(-(-count // len(labels)), 1, 1)[:count] for labels in some)
    score(*some)  # what is loaded or set up once is not counted
    return peak_growth(lambda: score(pred, true))
