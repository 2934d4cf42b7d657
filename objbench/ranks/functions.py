"""Functions of torch that look at the whole batch, or draw random numbers for it, where each process has a share of it.

Batch norms take their statistics over all processes. Dropout takes this share of what would be drawn for the whole batch.
Both are found wherever they are called, in layers and as functions: `SharedFunctions` is a mode of torch. Layers
of torch with other kinds of dropout are refused: they would draw the same numbers in every process.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from objbench.ranks.group import Ranks
from objbench.ranks.share import Share

_ALSO_RANDOM = {
    functional.alpha_dropout,
    functional.dropout1d,
    functional.dropout2d,
    functional.dropout3d,
    functional.feature_alpha_dropout,
    functional.multi_head_attention_forward,
    functional.rrelu,
}


class SharedFunctions(TorchFunctionMode):
    """Within this block batch norms and dropout are those of the whole batch. Images come first in every tensor."""

    def __init__(self, share: Share) -> None:
        super().__init__()
        self.share = share

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if function is functional.batch_norm:
            return self._batch_norm(*args, **named)
        if function is functional.dropout:
            return self._dropout(*args, **named)
        if function is functional.scaled_dot_product_attention:
            return self._attention(*args, **named)
        if function in _ALSO_RANDOM:
            _refuse_draws(function, args, named)
        return function(*args, **named)

    def _batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
        wide = x if x.dtype == torch.float64 else x.float()
        mean, variance, count, result = _normalised(wide, weight, bias, eps, self.share.ranks)
        with torch.no_grad():
            if running_mean is not None:
                running_mean.lerp_(mean.to(running_mean), momentum)
            if running_var is not None:
                running_var.lerp_((variance * (count / (count - 1))).to(running_var), momentum)
        return result.to(x.dtype)

    def _dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return functional.dropout(x, p, training, inplace)
        kept = self._kept(x, p)
        return x.mul_(kept) if inplace else x * kept

    def _attention(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if not dropout_p:
            return functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
            )
        if attn_mask is not None or enable_gqa:
            raise NotImplementedError(
                "attention with a mask and dropout on several processes; causal is possible"
            )
        scores = queries @ keys.mT * (1 / math.sqrt(queries.shape[-1]) if scale is None else scale)
        if is_causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        weights = scores.softmax(-1)
        return weights * self._kept(weights, dropout_p) @ values

    def _kept(self, x: Tensor, p: float) -> Tensor:
        """What x is multiplied by: 0, or 1 / (1 - p)."""

        def draw(rows: int) -> Tensor:  # by dropout itself: on a GPU it draws other numbers than bernoulli_
            return functional.dropout(x.new_ones(rows, *x.shape[1:]), p)

        return self.share.drawn(len(x), draw)


def _refuse_draws(function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Raise NotImplementedError if a function, called like this, draws random numbers."""
    call = inspect.signature(function).bind(*args, **named)
    call.apply_defaults()
    given = call.arguments
    if given["training"] and given.get("dropout_p", given.get("p", 1)):
        raise NotImplementedError(
            f"{function.__name__} with random numbers on several processes; nn.Dropout and "
            "scaled_dot_product_attention can be shared"
        )


def _normalised(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, ranks: Ranks
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean (C,) and variance (C,) over all processes, the number () of values, and x (B,C,...) normalised."""
    mean, variance, count, normal = _Normalise.apply(x, eps, ranks)  # type: ignore[no-untyped-call]
    shape = (1, -1, *[1] * (x.ndim - 2))
    if weight is not None:
        normal = normal * weight.view(shape)
    if bias is not None:
        normal = normal + bias.view(shape)
    return mean, variance, count, normal


class _Normalise(torch.autograd.Function):
    """x (B,C,...) less its mean, divided by its deviation; both are those of all processes, and so are their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        axes, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        own_mean = x.mean(axes)
        own_squares = (x - own_mean.view(shape)).square().sum(axes)
        count = x.new_full((1,), x.numel() / x.shape[1])
        table = x.new_zeros(ranks.size, 2 * x.shape[1] + 1)  # a row per process
        table[ranks.rank] = torch.cat([own_mean, own_squares, count])
        ranks.sum(table)
        means, squares, counts = table[:, : x.shape[1]], table[:, x.shape[1] : -1], table[:, -1:]
        total = counts.sum()
        mean = (counts * means).sum(0) / total
        variance = (squares + counts * (means - mean).square()).sum(0) / total
        deviation = (variance + eps).sqrt()
        normal = (x - mean.view(shape)) / deviation.view(shape)
        ctx.save_for_backward(normal, deviation, total)
        ctx.ranks = ranks
        ctx.mark_non_differentiable(mean, variance, total)
        return mean, variance, total, normal

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        found, (normal, deviation, total) = gradients[3], ctx.saved_tensors
        axes, shape = [0, *range(2, found.ndim)], (1, -1, *[1] * (found.ndim - 2))
        sums = torch.stack([found.sum(axes), (found * normal).sum(axes)])  # (2,C)
        ctx.ranks.sum(sums)
        shift, slope = (row.view(shape) / total for row in sums)
        return (found - shift - normal * slope) / deviation.view(shape), None, None
