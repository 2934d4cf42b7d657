"""What each slot's decoder sees: its slot where a patch was kept, else the mask token, and the patch's place."""

from __future__ import annotations

import torch
from torch import Tensor

from objmae.kernels.available import fused


def broadcast(
    base: Tensor,
    log_attention: Tensor,
    ids: Tensor,
    attention_weight: Tensor,
    mask_token: Tensor,
    position: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """The decoders' input (B,K,N,d) in `dtype` (Fig. 2b), computed in float32.

    base (B,K,d)          the projected slots
    log_attention (B,n,K) of the kept patches, and ids (B,n) their places
    attention_weight (d)  what one unit of log-attention adds
    mask_token (d)        what stands for a dropped patch
    position (N,d)        the code of each place, which gets no gradient
    """
    if not fused(base):
        return plain_broadcast(base, log_attention, ids, attention_weight, mask_token, position, dtype)
    from objmae.kernels.fused.broadcast import FusedBroadcast

    with torch.cuda.device(base.device):
        x: Tensor = FusedBroadcast.apply(
            base, log_attention, ids, attention_weight, mask_token, position, dtype
        )
    return x


def plain_broadcast(
    base: Tensor,
    log_attention: Tensor,
    ids: Tensor,
    attention_weight: Tensor,
    mask_token: Tensor,
    position: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """What the fused kernel gives, from the definition."""
    at = ids[:, None].expand(-1, base.shape[1], -1)  # (B,K,n)
    empty = log_attention.new_zeros(*base.shape[:2], len(position))  # (B,K,N)
    attention = empty.scatter(2, at, log_attention.mT)[..., None]  # (B,K,N,1)
    kept = torch.zeros_like(empty, dtype=torch.bool).scatter(2, at, True)[..., None]
    x = torch.where(kept, base[:, :, None] + attention * attention_weight, mask_token) + position
    return x.to(dtype)
