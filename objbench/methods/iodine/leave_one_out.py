"""What each slot contributes to the likelihood of a mixture."""

from __future__ import annotations

import math

import torch
from torch import Tensor


@torch.no_grad()
def slot_differences(densities: Tensor, log_masks: Tensor) -> Tensor:
    """How much each slot adds to the log-likelihood of a pixel: that of all slots less that of all others.

    Without a slot the masks of the others are scaled up until they sum to one again. No gradient flows through it.

    Args:
        densities: log-densities (B,K,C,H,W), K at least 2.
        log_masks: (B,K,1,H,W).

    Returns:
        (B,K,1,H,W), summed over channels.
    """
    weighted = densities + log_masks
    others = _log_sum_of_others(weighted) - _log_sum_of_others(log_masks)
    return (weighted.logsumexp(1, keepdim=True) - others).sum(2, keepdim=True)


def _log_sum_of_others(x: Tensor) -> Tensor:
    """For each slot the log-sum-exp of x (B,K,...) over all others, from both sides: subtracting would cancel."""
    nothing = torch.full_like(x[:, :1], -math.inf)
    before = torch.cat((nothing, x[:, :-1].logcumsumexp(1)), dim=1)
    after = torch.cat((x[:, 1:].flip(1).logcumsumexp(1).flip(1), nothing), dim=1)
    return torch.logaddexp(before, after)
