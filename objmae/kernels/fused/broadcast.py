"""The decoders' input in one write, and its gradients in one read.

Letters: B images, K slots, N places, n of them kept, d the width. A program takes one slot of one image. Where a
place's token is among the kept ones is found by comparing, so that no inverse of ids is needed.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS, GRADIENT_ROWS = 16, 4  # places in a tile; the backward pass holds three tiles of sums


class FusedBroadcast(torch.autograd.Function):
    """(base, log_attention, ids, attention_weight, mask_token, position, dtype) -> x (B,K,N,d)."""

    @staticmethod
    def forward(
        ctx: Any,
        base: Tensor,
        log_attention: Tensor,
        ids: Tensor,
        attention_weight: Tensor,
        mask_token: Tensor,
        position: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        """See `objmae.kernels.broadcast.broadcast`."""
        base, log_attention, ids = base.contiguous(), log_attention.contiguous(), ids.contiguous()
        attention_weight, mask_token = attention_weight.contiguous(), mask_token.contiguous()
        (B, K, d), n, N = base.shape, ids.shape[1], len(position)
        x = base.new_empty(B, K, N, d, dtype=dtype)
        _forward[(B * K, triton.cdiv(N, ROWS))](
            base, log_attention, ids, attention_weight, mask_token, position.contiguous(), x, n,
            K=K, N=N, D=d, TOKENS=triton.next_power_of_2(N), WIDTH=triton.next_power_of_2(d), ROWS=ROWS,
        )  # fmt: skip
        ctx.save_for_backward(base, log_attention, ids, attention_weight, mask_token)
        ctx.places = N
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """With respect to base, log_attention, attention_weight and mask_token; sums over images in a fixed order."""
        base, log_attention, ids, attention_weight, mask_token = ctx.saved_tensors
        (B, K, d), n, N = base.shape, ids.shape[1], ctx.places
        of_base, of_attention = torch.empty_like(base), torch.empty_like(log_attention)
        partial = base.new_empty(B * K, 2, d, dtype=torch.float32)
        _backward[(B * K,)](
            upstream.contiguous(), log_attention, ids, attention_weight, of_base, of_attention, partial, n,
            K=K, N=N, D=d, TOKENS=triton.next_power_of_2(N), WIDTH=triton.next_power_of_2(d),
            ROWS=GRADIENT_ROWS,
        )  # fmt: skip
        of_weight, of_token = partial.sum(0).unbind()
        return (
            of_base, of_attention, None, of_weight.to(attention_weight.dtype), of_token.to(mask_token.dtype),
            None, None,
        )  # fmt: skip


@triton.jit
def _find(ids, log_attention, image, slot, place, n, K: tl.constexpr, TOKENS: tl.constexpr):
    """Of each place: whether it was kept, the index of its token, and the slot's log-attention there."""
    token = tl.arange(0, TOKENS)
    kept_at = tl.load(ids + image * n + token, mask=token < n, other=-1).to(tl.int32)
    value = tl.load(log_attention + (image * n + token) * K + slot, mask=token < n, other=0.0).to(tl.float32)
    same = place[:, None] == kept_at[None, :]
    kept = tl.sum(same.to(tl.int32), axis=1) > 0
    index = tl.sum(tl.where(same, token[None, :], 0), axis=1)
    attention = tl.sum(tl.where(same, value[None, :], 0.0), axis=1)
    return kept, index, attention


@triton.jit(do_not_specialize=["n"])
def _forward(
    base, log_attention, ids, attention_weight, mask_token, position, x, n,
    K: tl.constexpr, N: tl.constexpr, D: tl.constexpr,
    TOKENS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """x (B,K,N,D) = position + (base + log_attention * attention_weight where kept, else mask_token)."""
    image, slot = tl.program_id(0) // K, tl.program_id(0) % K
    place = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    kept, _, attention = _find(ids, log_attention, image, slot, place, n, K, TOKENS)

    column = tl.arange(0, WIDTH)
    of_slot = tl.load(base + tl.program_id(0) * D + column, mask=column < D, other=0.0).to(tl.float32)
    weight = tl.load(attention_weight + column, mask=column < D, other=0.0).to(tl.float32)
    token = tl.load(mask_token + column, mask=column < D, other=0.0).to(tl.float32)
    inside = (place < N)[:, None] & (column < D)[None, :]
    at = place[:, None] * D + column[None, :]
    code = tl.load(position + at, mask=inside, other=0.0).to(tl.float32)
    value = tl.where(kept[:, None], of_slot[None, :] + attention[:, None] * weight[None, :], token[None, :])
    tl.store(x + tl.program_id(0).to(tl.int64) * (N * D) + at, value + code, mask=inside)


@triton.jit(do_not_specialize=["n"])
def _backward(
    upstream, log_attention, ids, attention_weight, of_base, of_attention, partial, n,
    K: tl.constexpr, N: tl.constexpr, D: tl.constexpr,
    TOKENS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """of_base (B,K,D), of_attention (B,n,K), and partial (B*K,2,D): attention_weight's and mask_token's."""
    image, slot = tl.program_id(0) // K, tl.program_id(0) % K
    column = tl.arange(0, WIDTH)
    weight = tl.load(attention_weight + column, mask=column < D, other=0.0).to(tl.float32)
    base_sum = tl.zeros((ROWS, WIDTH), tl.float32)
    weight_sum = tl.zeros((ROWS, WIDTH), tl.float32)
    token_sum = tl.zeros((ROWS, WIDTH), tl.float32)
    for first in range(0, N, ROWS):
        place = first + tl.arange(0, ROWS)
        kept, index, attention = _find(ids, log_attention, image, slot, place, n, K, TOKENS)
        inside = (place < N)[:, None] & (column < D)[None, :]
        at = tl.program_id(0).to(tl.int64) * (N * D) + place[:, None] * D + column[None, :]
        g = tl.load(upstream + at, mask=inside, other=0.0).to(tl.float32)
        of_kept = tl.where(kept[:, None], g, 0.0)
        base_sum += of_kept
        weight_sum += of_kept * attention[:, None]
        token_sum += g - of_kept
        tl.store(
            of_attention + (image * n + index) * K + slot, tl.sum(g * weight[None, :], axis=1), mask=kept
        )

    tl.store(of_base + tl.program_id(0) * D + column, tl.sum(base_sum, axis=0), mask=column < D)
    row = partial + tl.program_id(0) * (2 * D) + column
    tl.store(row, tl.sum(weight_sum, axis=0), mask=column < D)
    tl.store(row + D, tl.sum(token_sum, axis=0), mask=column < D)
