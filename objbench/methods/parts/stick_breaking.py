"""Stick-breaking masks in log space: each slot takes a share of what the slots before it have left."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def stick_breaking(share: Callable[[Tensor], Tensor], log_scope: Tensor, slots: int) -> Tensor:
    """Log-masks (B,K,1,H,W) by K - 1 breaks; they sum to the first scope.

    Slot k takes log m_k = log s_k + log sigmoid(a_k) and leaves log s_{k+1} = log s_k + log sigmoid(-a_k); the last
    slot takes what is left (Burgess et al. 2019). In float32, whatever the dtype of the logits.

    Args:
        share: gives logits a_k (B,1,H,W) of the share that the next slot takes, from the log-scope that is left.
        log_scope: (B,1,H,W), the first one; zeros for whole images.
        slots: K.
    """
    log_masks = []
    log_scope = log_scope.float()
    for _ in range(slots - 1):
        logits = share(log_scope).float()
        log_masks.append(log_scope + logsigmoid(logits))
        log_scope = log_scope + logsigmoid(-logits)
    return torch.stack([*log_masks, log_scope], dim=1)
