"""Residual sum and LayerNorm in one pass, and their common gradient in another; rows R, width D."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

PROGRAMS = (
    512  # of the backward pass, each with a fixed share of the rows: the sums are the same on any device
)
TILE = 2048  # values of a tile: 16 of each of its arrays per thread


class FusedResidualNorm(torch.autograd.Function):
    """(residual, branch, weight, bias, eps) -> sum, normalised."""

    @staticmethod
    def forward(
        ctx: Any, residual: Tensor, branch: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """See `objmae.kernels.residual_norm.residual_norm`."""
        residual, branch = residual.contiguous(), branch.contiguous()
        D = residual.shape[-1]
        R = residual.numel() // D
        total, normalised = torch.empty_like(residual), torch.empty_like(branch)
        statistics = residual.new_empty(R, 2, dtype=torch.float32)
        width, rows = _tile(D)
        _forward[(triton.cdiv(R, rows),)](
            residual, branch, weight, bias, total, normalised, statistics, R, eps,
            D=D, WIDTH=width, ROWS=rows,
        )  # fmt: skip
        ctx.save_for_backward(total, statistics, weight, bias)
        ctx.branch_dtype = branch.dtype
        ctx.set_materialize_grads(False)
        return total, normalised

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_total: Tensor | None, of_normalised: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """With respect to residual and branch (the same values), weight and bias."""
        total, statistics, weight, bias = ctx.saved_tensors
        if of_normalised is None:
            of_branch = None if of_total is None else of_total.to(ctx.branch_dtype)
            return of_total, of_branch, None, None, None
        D = total.shape[-1]
        R = total.numel() // D
        width, rows = _tile(D)
        programs = min(PROGRAMS, triton.cdiv(R, rows))
        of_residual = torch.empty_like(total)
        same = ctx.branch_dtype == total.dtype
        of_branch = of_residual if same else torch.empty_like(total, dtype=ctx.branch_dtype)
        partial = total.new_empty(programs, 2, D, dtype=torch.float32)
        of_normalised = of_normalised.contiguous()
        _backward[(programs,)](
            of_normalised if of_total is None else of_total.contiguous(), of_normalised,
            total, statistics, weight, of_residual, of_branch, partial, R,
            PASSED_ON=of_total is not None, SAME=same, D=D, WIDTH=width, ROWS=rows,
        )  # fmt: skip
        of_weight, of_bias = partial.sum(0).unbind()
        return of_residual, of_branch, of_weight.to(weight.dtype), of_bias.to(bias.dtype), None


def _tile(D: int) -> tuple[int, int]:
    """Its width and rows."""
    width = triton.next_power_of_2(D)
    return width, max(1, TILE // width)


@triton.jit(do_not_specialize=["R"])
def _forward(
    residual, branch, weight, bias, total, normalised, statistics, R, eps,
    D: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """total and normalised (R,D); statistics (R,2): mean and reciprocal standard deviation."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    inside = (row < R)[:, None] & (column < D)[None, :]
    at = row.to(tl.int64)[:, None] * D + column[None, :]
    x = tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    x += tl.load(branch + at, mask=inside, other=0.0).to(tl.float32)
    stored = x.to(total.dtype.element_ty)
    tl.store(total + at, stored, mask=inside)

    x = stored.to(tl.float32)
    mean = tl.sum(x, axis=1) / D
    x = tl.where(inside, x - mean[:, None], 0.0)
    reciprocal = 1 / tl.sqrt(tl.sum(x * x, axis=1) / D + eps)
    scale = tl.load(weight + column, mask=column < D, other=0.0).to(tl.float32)
    shift = tl.load(bias + column, mask=column < D, other=0.0).to(tl.float32)
    tl.store(normalised + at, x * reciprocal[:, None] * scale[None, :] + shift[None, :], mask=inside)
    tl.store(statistics + 2 * row, mean, mask=row < R)
    tl.store(statistics + 2 * row + 1, reciprocal, mask=row < R)


@triton.jit(do_not_specialize=["R"])
def _backward(
    of_total, of_normalised, total, statistics, weight, of_residual, of_branch, partial, R,
    PASSED_ON: tl.constexpr, SAME: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """of_residual and of_branch (R,D), and partial (programs,2,D): of weight and bias.

    of_total is read only if PASSED_ON, of_branch written only if not the SAME as of_residual.
    """
    column = tl.arange(0, WIDTH)
    scale = tl.load(weight + column, mask=column < D, other=0.0).to(tl.float32)
    weight_sum = tl.zeros((ROWS, WIDTH), tl.float32)
    bias_sum = tl.zeros((ROWS, WIDTH), tl.float32)
    first = tl.program_id(0) * ROWS
    while first < R:
        row = first + tl.arange(0, ROWS)
        inside = (row < R)[:, None] & (column < D)[None, :]
        at = row.to(tl.int64)[:, None] * D + column[None, :]
        x = tl.load(total + at, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(of_normalised + at, mask=inside, other=0.0).to(tl.float32)
        mean = tl.load(statistics + 2 * row, mask=row < R, other=0.0)
        reciprocal = tl.load(statistics + 2 * row + 1, mask=row < R, other=0.0)
        x = tl.where(inside, (x - mean[:, None]) * reciprocal[:, None], 0.0)
        weight_sum += g * x
        bias_sum += g
        g *= scale[None, :]
        along = tl.sum(g * x, axis=1) / D
        g = (g - tl.sum(g, axis=1)[:, None] / D - x * along[:, None]) * reciprocal[:, None]
        if PASSED_ON:
            g += tl.load(of_total + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(of_residual + at, g, mask=inside)
        if not SAME:
            tl.store(of_branch + at, g, mask=inside)
        first += tl.num_programs(0) * ROWS

    out = partial + tl.program_id(0) * (2 * D) + column
    tl.store(out, tl.sum(weight_sum, axis=0), mask=column < D)
    tl.store(out + D, tl.sum(bias_sum, axis=0), mask=column < D)
