"""Self-attention of short sequences, straight from the packed projection."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from objmae.kernels.available import fused

LONGEST, WIDEST = 128, 64  # tokens and head width whose scores a program can hold in registers


def attention(qkv: Tensor) -> Tensor:
    """Multi-head self-attention: qkv (B,T,3,heads,width) -> (B,T,heads*width), scores scaled by width^-1/2.

    The fused form takes sequences of up to 128 tokens and heads of up to 64 in bfloat16 (float32 would not fit into
    registers); it copies nothing, and keeps only qkv for the backward pass. On the CPU, bfloat16 goes by products.
    """
    if qkv.dtype is torch.bfloat16 and not qkv.is_cuda:
        return attention_by_products(qkv)
    short = qkv.shape[1] <= LONGEST and qkv.shape[4] <= WIDEST
    if not (fused(qkv) and qkv.dtype is torch.bfloat16 and short):
        return plain_attention(qkv)
    from objmae.kernels.fused.attention import FusedAttention

    with torch.cuda.device(qkv.device):
        out: Tensor = FusedAttention.apply(qkv)
    return out


def plain_attention(qkv: Tensor) -> Tensor:
    """Attention as `attention` gives it, by torch."""
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B,heads,T,width)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def attention_by_products(qkv: Tensor) -> Tensor:
    """Attention as batched products of the matrices of all heads, its softmax in float32.

    In bfloat16 on the CPU torch's own attention has a backward pass that takes ten times as long.
    """
    B, T, _, heads, width = qkv.shape
    q, k, v = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)  # each (B*heads,T,width)
    scores = torch.bmm(q * width**-0.5, k.mT)  # (B*heads,T,T)
    weights = scores.softmax(2, dtype=torch.promote_types(qkv.dtype, torch.float32)).to(qkv.dtype)
    return torch.bmm(weights, v).view(B, heads, T, width).transpose(1, 2).flatten(2)
