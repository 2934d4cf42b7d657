"""The prior of SPAIR on how many objects an image has, as prior probabilities of presence cell by cell.

Crawford and Pineau, "Spatially Invariant Unsupervised Object Detection with Convolutional Neural Networks", AAAI 2019.
The number c of objects in N cells has p(c) ~ rho^c, and given c every pattern of presences is equally likely. The cells
are taken in order; given the n objects that stand in the first i cells, c is still c with the probability

    p(c | n) ~ p(c) binomial(N - i, c - n) / binomial(N, c),

and the next cell has an object with the mean of (c - n) / (N - i) under it. This depends on i and n alone, so that all
cells are looked up at once instead of updating p(c) cell by cell.
"""

from __future__ import annotations

import torch
from torch import Tensor

PROBABILITY_MIN = 1e-6


class CountPrior(torch.nn.Module):
    """Prior logits of presence, each given the presences in the cells before it.

    Args:
        cells: N.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.log_ways: Tensor  # (N,N,N+1): i, n, c; -inf where n objects in i cells and c in all cannot be
        self.share: Tensor  # (N,N,N+1): (c - n) / (N - i)
        i, n, c = torch.meshgrid(
            *(torch.arange(m).double() for m in (cells, cells, cells + 1)), indexing="ij"
        )
        left, missing = cells - i, c - n
        possible = (n <= i) & (missing >= 0) & (missing <= left)
        ways = _log_binomial(left, missing.clamp(min=0).minimum(left)) - _log_binomial(
            torch.full_like(c, cells), c
        )
        self.register_buffer("log_ways", torch.where(possible, ways, -torch.inf).float(), persistent=False)
        self.register_buffer("share", (missing / left).clamp(0, 1).float(), persistent=False)

    def forward(self, presence: Tensor, rho: Tensor) -> Tensor:
        """The prior logits (B,N) of presences (B,N), 0 or 1 and in the order of the cells; no gradient.

        `rho` is a scalar > 0: near 0 no objects are expected, at 1 every number of objects is as likely as any other.
        Probabilities are clamped to [1e-6, 1 - 1e-6].
        """
        counts = torch.arange(self.cells + 1, device=presence.device)
        log_weights = self.log_ways + counts * rho.float().log()
        weights = torch.softmax(log_weights, dim=-1).nan_to_num(0.0)  # rows of n > i are all -inf
        table = (weights * self.share).sum(-1)  # (N,N): i, n
        present = presence.detach().round().long()
        before = present.cumsum(1) - present
        probability = table[torch.arange(self.cells, device=presence.device), before]
        return torch.logit(probability.clamp(PROBABILITY_MIN, 1 - PROBABILITY_MIN))


def _log_binomial(n: Tensor, k: Tensor) -> Tensor:
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
