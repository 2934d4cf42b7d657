"""Attention of short sequences: a program takes one head of one sequence, and holds whole rows of its scores.

Letters: B sequences of T tokens, H heads. Keys and values are loaded once; queries come in blocks. Each row's softmax
is complete in registers, so nothing of it is kept: the backward pass computes it again.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable


class FusedAttention(torch.autograd.Function):
    """qkv (B,T,3,H,width) -> (B,T,H*width)."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor) -> Tensor:
        """See `objmae.kernels.attention.attention`."""
        qkv = qkv.contiguous()
        B, T, _, H, width = qkv.shape
        out = qkv.new_empty(B, T, H * width)
        _forward[(B * H,)](qkv, out, T, width**-0.5, H=H, D=width, **_tile(T, width))
        ctx.save_for_backward(qkv)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        """With respect to qkv."""
        (qkv,) = ctx.saved_tensors
        B, T, _, H, width = qkv.shape
        gradient = torch.empty_like(qkv)
        _backward[(B * H,)](
            qkv, upstream.contiguous(), gradient, T, width**-0.5, H=H, D=width, **_tile(T, width)
        )
        return gradient


def _tile(T: int, width: int) -> dict[str, int]:
    """Sizes of a program's tiles, and its warps; matrix products want at least 16 of everything."""
    keys = max(16, triton.next_power_of_2(T))
    queries = min(32, keys)
    return {
        "KEYS": keys,
        "QUERIES": queries,
        "BLOCKS": triton.cdiv(T, queries),
        "WIDTH": max(16, triton.next_power_of_2(width)),
        "num_warps": keys // 16,
    }


@triton.jit
def _load(head, part: tl.constexpr, token, T, H: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr):
    """Queries (part 0), keys (1) or values (2) of the given tokens: (tokens,WIDTH), zero beyond T and D."""
    column = tl.arange(0, WIDTH)
    at = token[:, None] * (3 * H * D) + part * (H * D) + column[None, :]
    return tl.load(head + at, mask=(token < T)[:, None] & (column < D)[None, :], other=0.0)


@triton.jit
def _weights(q, k, key, T, scale):
    """softmax over the keys of q k^T * scale: (queries,keys), float32."""
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    scores = tl.where((key < T)[None, :], scores, float("-inf"))
    weights = tl.exp(scores - tl.max(scores, axis=1)[:, None])
    return weights / tl.sum(weights, axis=1)[:, None]


@triton.jit(do_not_specialize=["T"])
def _forward(
    qkv, out, T, scale, H: tl.constexpr, D: tl.constexpr,
    KEYS: tl.constexpr, QUERIES: tl.constexpr, BLOCKS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """out (B,T,H,D)."""
    sequence, h = (tl.program_id(0) // H).to(tl.int64), tl.program_id(0) % H
    head = qkv + sequence * T * (3 * H * D) + h * D
    out += sequence * T * (H * D) + h * D
    key = tl.arange(0, KEYS)
    k = _load(head, 1, key, T, H, D, WIDTH)
    v = _load(head, 2, key, T, H, D, WIDTH)
    column = tl.arange(0, WIDTH)
    for first in range(0, BLOCKS * QUERIES, QUERIES):
        query = first + tl.arange(0, QUERIES)
        q = _load(head, 0, query, T, H, D, WIDTH)
        weights = _weights(q, k, key, T, scale)
        result = tl.dot(weights.to(v.dtype), v, input_precision="ieee")
        at = query[:, None] * (H * D) + column[None, :]
        tl.store(out + at, result, mask=(query < T)[:, None] & (column < D)[None, :])


@triton.jit(do_not_specialize=["T"])
def _backward(
    qkv, upstream, gradient, T, scale, H: tl.constexpr, D: tl.constexpr,
    KEYS: tl.constexpr, QUERIES: tl.constexpr, BLOCKS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """gradient (B,T,3,H,D)."""
    sequence, h = (tl.program_id(0) // H).to(tl.int64), tl.program_id(0) % H
    head = qkv + sequence * T * (3 * H * D) + h * D
    upstream += sequence * T * (H * D) + h * D
    gradient += sequence * T * (3 * H * D) + h * D
    key = tl.arange(0, KEYS)
    k = _load(head, 1, key, T, H, D, WIDTH)
    v = _load(head, 2, key, T, H, D, WIDTH)
    column = tl.arange(0, WIDTH)
    of_k = tl.zeros((KEYS, WIDTH), tl.float32)
    of_v = tl.zeros((KEYS, WIDTH), tl.float32)
    for first in range(0, BLOCKS * QUERIES, QUERIES):
        query = first + tl.arange(0, QUERIES)
        q = _load(head, 0, query, T, H, D, WIDTH)
        weights = _weights(q, k, key, T, scale)
        inside = (query < T)[:, None] & (column < D)[None, :]
        g = tl.load(upstream + query[:, None] * (H * D) + column[None, :], mask=inside, other=0.0)
        of_v += tl.dot(tl.trans(weights.to(g.dtype)), g, input_precision="ieee")
        of_weights = tl.dot(g, tl.trans(v), input_precision="ieee")
        mean = tl.sum(weights * of_weights, axis=1)
        of_scores = (weights * (of_weights - mean[:, None]) * scale).to(q.dtype)
        of_q = tl.dot(of_scores, k, input_precision="ieee")
        of_k += tl.dot(tl.trans(of_scores), q, input_precision="ieee")
        tl.store(gradient + query[:, None] * (3 * H * D) + column[None, :], of_q, mask=inside)

    at = key[:, None] * (3 * H * D) + column[None, :]
    inside = (key < T)[:, None] & (column < D)[None, :]
    tl.store(gradient + H * D + at, of_k, mask=inside)
    tl.store(gradient + 2 * H * D + at, of_v, mask=inside)
